import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { ReleaseSpec } from '../../src/protocol/release-spec.ts'
import type { SharedRecord } from '../../src/protocol/shared-record.ts'
import { mustRun } from '../fleet/command.ts'
import { unavailable, type Server } from '../fleet/fleet.ts'
import { World } from '../world.ts'

const reason = unavailable()
const program = fileURLToPath(new URL('../../bin/dploy', import.meta.url))

describe(
  'two laptops that deploy to the same 2 servers',
  { skip: reason ?? false, concurrency: 1, timeout: 280_000 },
  () => {
    let world: World
    let other: Awaited<ReturnType<World['clone']>>

    before(async () => {
      world = await World.up({ servers: 2, ssh: 'root', strategy: { batch: 1 } })
      assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
      await world.commit({ 'version.txt': 'two\n' }, 'Two')
      assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
      other = await world.clone('other')
    })
    after(async () => world?.[Symbol.asyncDispose]())

    const allRun = async (text: string) => {
      for (const answer of await world.answers()) assert.match(answer, new RegExp(`^${text} `))
    }

    test('the other one knows what is deployed, and rolls it back', async () => {
      const { result, code } = await other.start('rollback', 'production').outcome
      assert.equal(result.state, 'succeeded', result.failure?.message)
      assert.equal(code, 0)
      assert.equal(result.receipt!.bytes, 0)
      await allRun('one')
    })

    test('what the other one deploys gets the next number, and the first one knows of it', async () => {
      const { result } = await other.start('deploy', 'production').outcome
      assert.equal(result.state, 'succeeded', result.failure?.message)
      assert.equal(result.deployment, 4)
      await allRun('two')
      const back = await world.dploy('rollback', 'production', '--release', '1')
      assert.equal(back.result.state, 'succeeded', back.result.failure?.message)
      assert.equal(back.result.deployment, 5)
      await allRun('one')
    })

    test('while one deploys, the other is told who does, or waits', async () => {
      await world.commit({ 'version.txt': 'three\n' }, 'Three')
      const running = world.start('deploy', 'production')
      await running.until((event) => event.data.state === 'activating')
      const refused = await other.start('deploy', 'production').outcome
      assert.equal(refused.result.failure!.code, 'environment.locked')
      assert.match(refused.result.failure!.message, /Deployment 6 by \S+@\S+ holds the lock of .+ since .+; it is \w+/)
      const waiting = other.start('deploy', 'production', '--wait').outcome
      assert.equal((await running.outcome).result.state, 'succeeded')
      assert.equal((await waiting).result.state, 'succeeded', JSON.stringify((await waiting).result.failure))
      await allRun('two')
    })

    test('one that looks while the other deploys sees it end as it ended, and both count the same', async () => {
      await world.commit({ 'version.txt': 'seen\n' }, 'Seen')
      const running = world.start('deploy', 'production')
      await running.until((event) => event.data.state === 'activating')
      const listed = async (directory: string) => {
        const { stdout } = await promisify(execFile)(program, ['deployments', 'production', '--json'], {
          cwd: directory,
          env: world.environment,
        })
        return stdout
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line) as { number: number; state: string; kind: string })
      }
      await listed(other.directory)
      const { result } = await running.outcome
      assert.equal(result.state, 'succeeded', JSON.stringify(result.failure))
      const [here, there] = [await listed(world.repository), await listed(other.directory)]
      assert.deepEqual([there[0]?.number, there[0]?.state], [result.deployment, 'succeeded'])
      const told = ({ number, state, kind }: (typeof here)[number]) => `${number} ${kind} ${state}`
      assert.deepEqual(there.map(told), here.map(told))
    })

    test('of two that begin at the same moment one deploys', async () => {
      const results = await Promise.all([
        world.dploy('deploy', 'production'),
        other.start('deploy', 'production').outcome,
      ])
      const states = results.map(({ result }) => result.state).sort()
      assert.ok(states.includes('succeeded'), JSON.stringify(results.map(({ result }) => result.failure)))
      for (const { result } of results)
        if (result.state !== 'succeeded') assert.equal(result.failure!.code, 'environment.locked')
    })

    test('after a kill -9 in the middle the other one deploys, and the first one does not undo it', async () => {
      await world.commit({ 'version.txt': 'four\n' }, 'Four')
      const killed = world.start('deploy', 'production')
      await killed.until((event) => event.data.state === 'activating')
      const exit = once(killed.process, 'exit')
      killed.process.kill('SIGKILL')
      await exit
      await killed.outcome.catch(() => {})
      const { result } = await other.start('deploy', 'production').outcome
      assert.equal(result.state, 'succeeded', result.failure?.message)
      await allRun('two')
      // A command of the first one finds its own unfinished deployment overtaken.
      const next = await world.dploy('deploy', 'production')
      assert.equal(next.result.state, 'succeeded', next.result.failure?.message)
      await allRun('four')
    })

    test('one that is stopped in the middle loses the lock within 30 s, and what it still tries when it goes on is refused', async (context) => {
      await world.commit({ 'version.txt': 'stopped\n' }, 'Stopped')
      const stopped = world.start('deploy', 'production')
      await stopped.until((event) => event.data.state === 'activating')
      stopped.process.kill('SIGSTOP')
      const began = performance.now()
      const { result } = await other.start('deploy', 'production', '--wait').outcome
      const seconds = (performance.now() - began) / 1000
      assert.equal(result.state, 'succeeded', result.failure?.message)
      assert.ok(seconds < 30 + result.seconds!, `it waited ${seconds.toFixed(1)} s`)
      await allRun('two')
      stopped.process.kill('SIGCONT')
      const late = await stopped.outcome
      assert.deepEqual([late.code, late.result.state, late.result.failure?.code], [1, 'failed', 'lock.lost'])
      await allRun('two')
      context.diagnostic(
        `the other one was through after ${seconds.toFixed(1)} s, of which its deployment took ${result.seconds} s`,
      )
    })

    test('after a kill -9 in the middle the same laptop deploys again', async () => {
      await world.commit({ 'version.txt': 'five\n' }, 'Five')
      const killed = world.start('deploy', 'production')
      await killed.until((event) => event.data.state === 'activating')
      const exit = once(killed.process, 'exit')
      killed.process.kill('SIGKILL')
      await exit
      await killed.outcome.catch(() => {})
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'succeeded', result.failure?.message)
      await allRun('five')
    })

    test('Ctrl-C switches back what was switched, and leaves nothing running', async () => {
      await world.commit({ 'version.txt': 'six\n' }, 'Six')
      // Agents of the commands before wait for another one.
      await world.closeConnections()
      const running = world.startIn(world.repository, ['deploy', 'production'], { DPLOY_SSH_WAIT: '0' })
      await running.until((event) => event.data.kind === 'step' && event.data.state === 'switched')
      running.process.kill('SIGINT')
      const { result, code } = await running.outcome
      assert.equal(code, 1)
      assert.equal(result.state, 'rolled_back', JSON.stringify(result.failure))
      await allRun('five')
      for (let tries = 0; ; tries++) {
        const left = (await world.servers[0]!.mustExec('ps', ['-eo', 'args', '--no-headers']))
          .split('\n')
          .filter((line) => /\.mjs stdio/.test(line))
        if (left.length === 0) break
        assert.ok(tries < 50, left.join('\n'))
        await delay(100)
      }
    })

    test('another application that names the same directory is refused, and sees nothing of this one', async () => {
      const { directory, start } = await world.clone('stranger')
      const file = join(directory, 'dploy.yml')
      writeFileSync(
        file,
        readFileSync(file, 'utf8').replace(
          '"application": "shop"',
          '"application": "blog", "release": { "directory": "/srv/shop" }',
        ),
      )
      await mustRun('git', [
        '-C',
        directory,
        '-c',
        'user.name=Anna',
        '-c',
        'user.email=anna@example.org',
        'commit',
        '--quiet',
        '--all',
        '--message',
        'Another application',
      ])
      const { result, code } = await start('deploy', 'production').outcome
      assert.equal(code, 1)
      assert.equal(result.failure!.code, 'server.directory_taken', JSON.stringify(result.failure))
      assert.match(
        result.failure!.message,
        /\/srv\/shop holds release \d+ of shop in production, and is not used for blog in production/,
      )
      await allRun('five')
    })

    test('who is root on one server brings nothing to the others by what stands in its history', async () => {
      const file = '/srv/shop/.dploy/environments/production.json'
      const [honest, liar] = world.servers as [Server, Server]
      const record = JSON.parse(await liar.mustExec('cat', [file])) as SharedRecord
      const wanted = record.releases.find(({ spec }) => spec.id === record.wanted)!
      const leave = { command: 'touch /root/evil', timeout: 10_000 }
      // One of its own; and one that is known, with another content.
      const lies: [string, ReleaseSpec][] = [
        [
          'a release that nobody made',
          {
            ...wanted.spec,
            id: 'rel_evil',
            number: wanted.spec.number + 1,
            hooks: { after_stage: leave, before_activate: leave },
          },
        ],
        ['a release that was changed', { ...wanted.spec, hooks: { after_stage: leave, before_activate: leave } }],
      ]
      for (const [index, [what, spec]] of lies.entries()) {
        const { id, number } = record.deployments[0]!
        const evil: SharedRecord = {
          ...record,
          fence: record.fence + 1_000 * (index + 1),
          wanted: spec.id,
          deployments: [
            { ...record.deployments[0]!, id: `${id}-evil${index}`, number: number + 1 + index, release: spec.id },
            ...record.deployments,
          ],
          releases: [{ ...wanted, spec }, ...record.releases.filter((one) => one.spec.id !== spec.id)],
        }
        await liar.write(file, JSON.stringify(evil))
        await honest.mustExec('systemctl', ['stop', 'dploy-shop-production'])
        const fresh = await world.clone(`fresh-${spec.id}`)
        const { result } = await fresh.start('converge', 'production').outcome
        assert.equal(result.state, 'failed', what)
        assert.match(JSON.stringify(result.failure), /release\.unknown|was made on another machine/, what)
        // On its own server root may do what it likes.
        assert.notEqual((await honest.exec('test', ['-e', '/root/evil'])).code, 0, what)
        await liar.write(file, JSON.stringify(record))
      }
      // A new deployment is what mends it, by whoever it is.
      const mended = await other.start('deploy', 'production').outcome
      assert.equal(mended.result.state, 'succeeded', mended.result.failure?.message)
      await allRun('two')
    })
  },
)
