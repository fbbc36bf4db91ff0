import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { unavailable, type Server } from '../fleet/fleet.ts'
import { startUsers } from '../traffic/users.ts'
import { World } from '../world.ts'

const missing = unavailable()
const top = fileURLToPath(new URL('../..', import.meta.url))

describe(
  'agents of three servers, when the control plane has another version',
  { skip: missing === null ? false : missing, timeout: 240_000, concurrency: 1 },
  () => {
    let world: World
    const say = async (...args: string[]) =>
      (
        await promisify(execFile)(join(top, 'bin/dploy'), args, {
          cwd: world.repository,
          env: { ...world.environment, NO_COLOR: '1' },
        })
      ).stdout
    const programs = async () =>
      (await say('server', 'list', '--json'))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { connected: boolean; agent: { program: string | null } | null })
        .map(({ connected, agent }) => (connected ? (agent?.program ?? null) : null))
    const until = async (check: () => Promise<boolean>, what: string) => {
      for (const deadline = Date.now() + 60_000; !(await check().catch(() => false)); await delay(100))
        assert.ok(Date.now() < deadline, what)
    }
    const servicePid = (server: Server) =>
      server.mustExec('systemctl', ['show', '--property=MainPID', '--value', 'dploy-shop-production'])
    /** Another version: the agent of this checkout, changed. Its path and digest. */
    const version = (name: string, change: (program: string) => string) => {
      const path = join(world.directory, `${name}.mjs`)
      writeFileSync(path, change(readFileSync(join(top, 'dist/agent.mjs'), 'utf8')))
      return { path, digest: createHash('sha256').update(readFileSync(path)).digest('hex') }
    }
    const controlLog = () => readFileSync(join(world.directory, 'control.log'), 'utf8')

    before(async () => {
      world = await World.up({ servers: 3, ssh: 'root', strategy: { bake: '0s' } })
      await world.startControl()
      await say('server', 'add', ...world.servers.map(({ name }) => name))
      assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
    })
    after(async () => world?.[Symbol.asyncDispose]())

    test('become that version, one first and then the others, while applications run on and nobody notices', async () => {
      const newer = version('newer', (program) => `${program}\n// newer\n`)
      const pids = await Promise.all(world.servers.map(servicePid))
      await using users = startUsers({ url: world.url, rate: 100 })
      await world.killControl()
      await world.startControl([], { DPLOY_AGENT: newer.path })
      await until(
        async () => (await programs()).every((program) => program === newer.digest),
        'all have the new version',
      )
      assert.deepEqual(await Promise.all(world.servers.map(servicePid)), pids)
      ;(await users.stop()).noRequestFailed()
      await until(
        async () =>
          (await world.servers[0]!.exec('systemctl', ['is-active', 'dploy-agent-fallback.timer'])).stdout.trim() !==
          'active',
        'nothing is left that would put the version before back',
      )
      await world.commit({ 'version.txt': 'two\n' }, 'Two')
      assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
    })

    for (const [name, change] of [
      ['ends at once', () => 'process.exit(1)\n'],
      ['runs and never connects', () => 'setInterval(() => {}, 1000)\n'],
    ] as const) {
      test(`a version that ${name} is taken back by the first of them, and the others never get it`, async () => {
        const [before] = await programs()
        const broken = version(name.replaceAll(' ', '-'), change)
        const pids = await Promise.all(world.servers.map(servicePid))
        await world.killControl()
        await world.startControl(['--agent-trial', '3'], { DPLOY_AGENT: broken.path })
        await until(
          async () =>
            controlLog().includes('did not come back there') && controlLog().includes(broken.digest.slice(0, 12)),
          'the failure is logged',
        )
        await until(
          async () => (await programs()).every((program) => program === before),
          'all are back with the version before',
        )
        const taken = await Promise.all(
          world.servers.map(
            async (server) =>
              (await server.exec('test', ['-e', `/var/lib/dploy/agent/${broken.digest}.mjs`])).code === 0,
          ),
        )
        assert.equal(taken.filter(Boolean).length, 1)
        assert.deepEqual(await Promise.all(world.servers.map(servicePid)), pids)
        await world.commit({ 'version.txt': `${name}\n` }, 'Another')
        assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
      })
    }
  },
)
