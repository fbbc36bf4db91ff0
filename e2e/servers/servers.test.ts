import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, openSync, closeSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Team } from '../commands/team.ts'
import type { ServerView } from '../../src/protocol/api/servers.ts'

const agentMain = fileURLToPath(new URL('../../src/agent/main.ts', import.meta.url))

describe('servers and their keys', { timeout: 240_000 }, () => {
  let team: Team

  before(async () => {
    team = await Team.up({ servers: 3, tags: () => ({ role: 'web' }) })
    mkdirSync(join(team.directory, 'payload'))
    writeFileSync(join(team.directory, 'payload/page.txt'), 'one')
    writeFileSync(
      join(team.directory, 'files.yml'),
      JSON.stringify({ application: 'files', environments: { one: { servers: ['web1'] }, other: { servers: [] } } }),
    )
    const { code, stderr, stdout } = await team.dploy(
      '--config',
      'files.yml',
      'deploy',
      'one',
      '--directory',
      'payload',
      '--json',
    )
    assert.equal(code, 0, stderr + stdout.toString())
  })

  after(async () => {
    await team?.[Symbol.asyncDispose]()
  })

  const show = async (server: string): Promise<ServerView> => team.client.call('server', { params: { server } })
  const until = async (what: string, condition: () => Promise<boolean>) => {
    for (const deadline = Date.now() + 30_000; !(await condition()); await delay(50))
      if (Date.now() > deadline) throw new Error(`${what}: not within 30 s`)
  }
  const connected = (server: string) => until(`${server} is connected`, async () => (await show(server)).connected)

  /** An agent of its own on this machine, over the state directory. */
  const startAgent = (name: string, state: string, env: Record<string, string> = {}) => {
    const log = openSync(join(team.directory, `${name}.log`), 'a')
    const child = spawn(
      process.execPath,
      [
        agentMain,
        'run',
        '--name',
        name,
        '--state',
        state,
        '--root',
        join(team.directory, name),
        '--join',
        team.url,
        '--tethered',
      ],
      { stdio: ['pipe', log, log], env: { ...process.env, ...env } },
    )
    closeSync(log)
    return {
      child,
      async stop() {
        if (child.exitCode !== null || child.signalCode !== null) return
        const exit = once(child, 'exit')
        child.stdin!.end()
        await exit
      },
    }
  }

  test('list and show tell who is connected, what runs there and since when', async () => {
    const { code, stdout, stderr } = await team.dploy('server', 'list')
    assert.equal(code, 0, stderr)
    assert.match(stdout.toString(), /web1 +connected .* ago +shop\/production[^\n]*\n +files\/one +1 +healthy/)
    const view = await show('web1')
    assert.deepEqual(
      view.releases.map(({ application, environment, release, healthy, drifted, listed }) => ({
        application,
        environment,
        release,
        healthy,
        drifted,
        listed,
      })),
      [
        { application: 'shop', environment: 'production', release: null, healthy: null, drifted: false, listed: true },
        { application: 'files', environment: 'one', release: 1, healthy: true, drifted: false, listed: true },
      ],
    )
    assert.match(
      (await team.dploy('server', 'show', 'web1')).stdout.toString(),
      /\n {2}load [\d.]+ on \d+ processors?.*; memory [\d.]+ [KMGT]?B of .* in use; disk .* free\n/,
    )
    const unknown = await team.dploy('server', 'show', 'nobody')
    assert.equal(unknown.code, 1)
    assert.match(unknown.stderr, /There is no server nobody; known: web1, web2, web3[\s\S]*server\.unknown/)
  })

  test('history tells what was deployed to a server, and releases where they are kept', async () => {
    const history = await team.dploy('--config', 'files.yml', 'server', 'history', 'web1', '--environment', 'one')
    assert.match(history.stdout.toString(), /deployment[^\n]*\n *1 +deploy +1 .* switched /, history.stderr)
    assert.match((await team.dploy('server', 'history', 'web1')).stdout.toString(), /Nothing was deployed to web1 yet/)
    assert.match(
      (await team.dploy('--config', 'files.yml', 'releases', 'one')).stdout.toString(),
      /→ +1 .*ready on 1 of 1/,
    )
  })

  test('a token for an environment makes who joins a member, with tags, through every later dploy.yml', async () => {
    const { code, stdout, stderr } = await team.dploy(
      'token',
      'join',
      '--environment',
      'production',
      '--tag',
      'role=batch',
      '--for',
      '5m',
    )
    assert.equal(code, 0, stderr)
    const token = stdout.toString().trim()
    assert.match(token, /^dploy_join_/)
    const agent = startAgent('extra1', join(team.directory, 'extra1/state'), { DPLOY_JOIN_TOKEN: token })
    try {
      await until('extra1 joined', async () =>
        (await team.client.call('servers')).servers.some(({ name, connected }) => name === 'extra1' && connected),
      )
      await team.client.call('apply', {
        body: { text: readFileSync(join(team.directory, 'dploy.yml'), 'utf8'), base: team.directory },
      })
      const { releases } = await show('extra1')
      assert.deepEqual(
        releases.map(({ application, environment, tags, listed }) => ({ application, environment, tags, listed })),
        [{ application: 'shop', environment: 'production', tags: { role: 'batch' }, listed: false }],
      )
      assert.match((await team.dploy('server', 'show', 'extra1')).stdout.toString(), /role=batch.*not in dploy\.yml/)
      const renamed = await team.dploy('server', 'rename', 'extra1', 'batch1')
      assert.equal(renamed.code, 0, renamed.stderr)
      await connected('batch1')
      assert.equal((await team.dploy('server', 'remove', 'batch1')).code, 0)
      await until(
        'it is gone',
        async () => !(await team.client.call('servers')).servers.some(({ name }) => name.startsWith('batch1')),
      )
    } finally {
      await agent.stop()
    }
  })

  test('a server that dploy.yml lists is not removed by mistake, and a name that is taken is not given again', async () => {
    const removed = await team.dploy('server', 'remove', 'web2')
    assert.equal(removed.code, 1)
    assert.match(removed.stderr, /lists web2 under production/)
    assert.equal((await team.dploy('server', 'rename', 'web2', 'web3')).code, 1)
  })

  test('drained, a server stays so until it is ready', async () => {
    assert.equal((await team.dploy('server', 'drain', 'web1')).code, 0)
    assert.notEqual((await show('web1')).keptOut, null)
    assert.match((await team.dploy('server', 'list')).stdout.toString(), /web1 .*out of traffic/)
    assert.equal((await team.dploy('server', 'ready', 'web1')).code, 0)
    assert.equal((await show('web1')).keptOut, null)
  })

  test('of a server that is away it is still known what it ran, and when that was, also after the control plane began anew', async () => {
    const [agent] = team.agents
    const release = async () => (await show('web1')).releases.find(({ application }) => application === 'files')!
    const before = await release()
    assert.equal(before.release, 1)
    await team.restartAgent(0, async () => {
      await until('it is gone', async () => !(await show('web1')).connected)
      const away = await release()
      assert.deepEqual([away.release, away.drifted, away.healthy], [1, false, null])
      assert.ok(
        away.observedAt !== null && away.observedAt <= Date.now() && away.observedAt >= before.observedAt! - 60_000,
      )
      const { stdout } = await team.dploy('server', 'list')
      assert.match(stdout.toString(), /^web1 +gone, last seen /m)
      assert.match(stdout.toString(), / files\/one +1 +as last seen /)
      const status = await team.dploy('--config', 'files.yml', 'status', 'one', '--json')
      const [server] = (
        JSON.parse(status.stdout.toString()) as { servers: { release: number; drifted: boolean; observedAt: number }[] }
      ).servers
      assert.deepEqual([server!.release, server!.drifted], [1, false])
      // Known also to a control plane that never saw it.
      await team.killControl()
      await team.startControl()
      assert.equal((await release()).release, 1)
    })
    assert.notEqual(team.agents[0], agent)
    for (const name of ['web1', 'web2', 'web3']) await connected(name)
    assert.equal((await release()).release, 1)
  })

  test('a key is replaced while the agent is connected, and the old one is worthless', async () => {
    const state = join(team.root('web2'), 'var/lib/dploy')
    const identity = () =>
      JSON.parse(readFileSync(join(state, 'identity.json'), 'utf8')) as { privateKey: string; nextPrivateKey?: string }
    const old = identity()
    const { code, stdout, stderr } = await team.dploy('server', 'rotate-key', 'web2')
    assert.equal(code, 0, stderr)
    assert.match(stdout.toString(), /web2 has a new key/)
    await until(
      'the agent keeps the new key alone',
      async () => identity().privateKey !== old.privateKey && identity().nextPrivateKey === undefined,
    )
    await connected('web2')
    const copy = join(team.directory, 'old-key')
    cpSync(state, copy, { recursive: true })
    writeFileSync(join(copy, 'identity.json'), JSON.stringify(old), { mode: 0o600 })
    const thief = startAgent('thief', copy)
    try {
      await until('it is refused', async () =>
        readFileSync(join(team.directory, 'thief.log'), 'utf8').includes('connection ended'),
      )
      assert.equal((await show('web2')).connected, true)
      assert.equal((await show('web2')).locked, null)
    } finally {
      await thief.stop()
    }
  })

  test('two machines with one key: both are locked until a person decides, and nobody else is disturbed', async () => {
    const state = join(team.root('web3'), 'var/lib/dploy')
    const copy = join(team.directory, 'cloned')
    cpSync(state, copy, { recursive: true })
    const clone = startAgent('clone', copy)
    try {
      await until('it is noticed', async () => (await show('web3')).locked !== null)
      await until('both are out', async () => !(await show('web3')).connected)
      assert.match(readFileSync(team.controlLog, 'utf8'), /Two machines hold the key of web3/)
      assert.match((await team.dploy('server', 'list')).stdout.toString(), /web3 +locked/)
      assert.match(
        (await team.dploy('doctor', 'production')).stdout.toString(),
        /web3 .*Two machines hold its key.*agent\.key_cloned\)\n +next: dploy server rotate-key web3\n/,
      )
      await until('the agent says why', async () =>
        readFileSync(join(team.directory, 'web3.log'), 'utf8').includes('Two machines hold the key of web3'),
      )
      assert.equal((await show('web1')).connected, true)
      assert.equal((await show('web2')).connected, true)
      // Unlocked while both live, it is noticed again.
      assert.equal((await team.dploy('server', 'unlock', 'web3')).code, 0)
      await until('it is noticed again', async () => (await show('web3')).locked !== null)
    } finally {
      await clone.stop()
    }
    assert.equal((await team.dploy('server', 'unlock', 'web3')).code, 0)
    await connected('web3')
    const { token } = JSON.parse(
      (await team.dploy('server', 'rotate-key', 'web3', '--forget', '--json')).stdout.toString(),
    ) as { token: string }
    await until('the old key is worthless', async () => !(await show('web3')).joined)
    const joined = startAgent('web3', join(team.directory, 'web3-anew'), { DPLOY_JOIN_TOKEN: token })
    try {
      await connected('web3')
      assert.equal((await show('web3')).locked, null)
    } finally {
      await joined.stop()
    }
  })
})
