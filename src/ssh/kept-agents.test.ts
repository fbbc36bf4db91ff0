import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { KeptAgents, type KeptAgent } from './kept-agents.ts'
import { LastingStreams, makePipes } from './lasting.ts'

function place(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'dploy-kept-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** Something that says again what it is told, in place of ssh. */
async function echo(kept: KeptAgents, name: string): Promise<{ agent: KeptAgent; child: ChildProcess }> {
  const path = await makePipes(kept.directory)
  assert.ok(path !== null)
  const { streams, started } = LastingStreams.create(path, (stdio) => spawn('cat', [], { stdio, detached: true }))!
  return {
    agent: { key: `key of ${name}`, alias: name, streams, user: 'root', access: 'root', refusal: null },
    child: started,
  }
}

async function says({ streams: { stdin, stdout } }: KeptAgent, text: string): Promise<string> {
  stdin.write(text)
  const [chunk] = (await once(stdout, 'data')) as [Buffer]
  return chunk.toString()
}

test('agents are left for another process, taken with their group, and left again', async (t) => {
  const directory = place(t)
  const first = new KeptAgents(directory)
  const [web1, web2] = await Promise.all([echo(first, 'web1'), echo(first, 'web2')])
  assert.equal(await says(web1.agent, 'one'), 'one')
  first.leave([web1.agent, web2.agent], 20)

  const second = new KeptAgents(directory)
  assert.equal(second.take('web3'), null)
  const taken = second.take('web1')
  assert.equal(taken?.key, 'key of web1')
  assert.equal(await says(taken, 'two'), 'two')
  assert.equal(new KeptAgents(directory).take('web2'), null, 'a group that is in use was given away')
  second.leave([taken], 20)

  const third = new KeptAgents(directory)
  const other = third.take('web2')!
  assert.equal(await says(other, 'three'), 'three')
  // Nobody has the ends of their pipes any more.
  const ends = [web1, web2].map(({ child }) => once(child, 'exit'))
  other.streams.close()
  third.take('web1')!.streams.close()
  third.leave([], 20)
  await Promise.all(ends)
  assert.deepEqual(readdirSync(join(directory, 'agents')), [])
})

test('they end when their time is up, and one that has ended is not given to anybody', async (t) => {
  const directory = place(t)
  const kept = new KeptAgents(directory)
  const [short, gone] = await Promise.all([echo(kept, 'short'), echo(kept, 'gone')])
  gone.child.kill()
  await once(gone.child, 'exit')
  const ended = once(short.child, 'exit')
  kept.leave([short.agent, gone.agent], 1)
  assert.equal(new KeptAgents(directory).take('gone'), null)
  await ended
  assert.equal(new KeptAgents(directory).take('short'), null)
})

test('of two for the same server one is kept', async (t) => {
  const directory = place(t)
  const [one, two] = [new KeptAgents(directory), new KeptAgents(directory)]
  const [first, second] = [await echo(one, 'web1'), await echo(two, 'web1')]
  one.leave([first.agent], 20)
  const ended = once(second.child, 'exit')
  two.leave([second.agent], 20)
  await ended
  const last = new KeptAgents(directory)
  last.take('web1')!.streams.close()
  last.leave([], 20)
  await once(first.child, 'exit')
})

test('what processes left that died is removed, and what is no description is no group', async (t) => {
  const directory = place(t)
  const agents = join(directory, 'agents')
  const dead = spawn('true')
  await once(dead, 'exit')
  for (const name of [`taken-${dead.pid}-free-x`, `new-${dead.pid}-x`, 'free-x', `new-${process.ppid}-x`])
    mkdirSync(join(agents, name), { recursive: true })
  writeFileSync(join(agents, 'free-x', 'agents.json'), '{"holder": "everybody"}')
  const kept = new KeptAgents(directory)
  assert.equal(kept.take('web1'), null)
  assert.deepEqual(readdirSync(agents), [`new-${process.ppid}-x`])
})

test('what ssh complains of is read while it lives', async (t) => {
  const kept = new KeptAgents(place(t))
  const path = (await makePipes(kept.directory))!
  const { streams, started } = LastingStreams.create(path, (stdio) =>
    spawn('sh', ['-c', 'echo no route >&2; echo said; cat'], { stdio }),
  )!
  await once(streams.stdout, 'data')
  assert.equal(streams.complaints, 'no route\n')
  streams.close()
  await once(started, 'exit')
})
