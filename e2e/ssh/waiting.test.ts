import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { ended, program } from '../commands/team.ts'
import { unavailable, type Server } from '../fleet/fleet.ts'
import { World } from '../world.ts'

const reason = unavailable()

describe(
  'agents that wait for the next command of a laptop',
  { skip: reason ?? false, concurrency: 1, timeout: 200_000 },
  () => {
    let world: World
    before(async () => {
      world = await World.up({ servers: 2, ssh: 'root', strategy: { bake: '0s' } })
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'succeeded', result.failure?.message)
    })
    after(async () => world?.[Symbol.asyncDispose]())

    const start = (args: string[], environment: NodeJS.ProcessEnv = {}) =>
      spawn(process.execPath, [program, ...args], {
        cwd: world.repository,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...world.environment, NO_COLOR: '1', ...environment },
      })
    const names = async (environment: NodeJS.ProcessEnv = {}) => {
      const { code, stdout, stderr } = await ended(start(['exec', 'production', '--', 'hostname'], environment))
      assert.equal(code, 0, stderr)
      return stdout.toString().trim()
    }
    const both = 'web1: web1\nweb2: web2'
    const agentsOf = async (server: Server) =>
      (await server.exec('pgrep', ['--full', String.raw`\.mjs stdio`])).stdout
        .toString()
        .split('\n')
        .filter(Boolean)
        .map((pid) => `${server.name} ${pid}`)
    const allAgents = async () => (await Promise.all(world.servers.map(agentsOf))).flat()
    /** Those that are ending have ended. */
    const gone = async (was: readonly string[]) => {
      for (const deadline = Date.now() + 10_000; ; await delay(50)) {
        const left = (await allAgents()).filter((pid) => was.includes(pid))
        if (left.length === 0) return
        assert.ok(Date.now() < deadline, `agents are left: ${left.join(', ')}`)
      }
    }

    test('answer it, whichever command it is, and what they knew is forgotten', async () => {
      const before = await allAgents()
      assert.equal(before.length, 2)
      assert.equal(await names(), both)
      await world.commit({ 'version.txt': 'two\n' }, 'Two')
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'succeeded', result.failure?.message)
      for (const answer of await world.answers()) assert.match(answer, /^two /)
      // What another agent did meanwhile is seen: this one has a connection and a state of its own.
      const other = await world.clone('other')
      assert.equal(
        (
          await world.startIn(other.directory, ['rollback', 'production'], {
            XDG_RUNTIME_DIR: join(world.directory, 'other-runtime'),
            DPLOY_SSH_WAIT: '0',
          }).outcome
        ).result.state,
        'succeeded',
      )
      assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
      for (const answer of await world.answers()) assert.match(answer, /^two /)
      assert.deepEqual(await allAgents(), before)
    })

    test('deploy anew into a directory that a person has moved away meanwhile', async () => {
      const before = await allAgents()
      for (const server of world.servers) await server.mustExec('mv', ['/srv/shop', '/srv/shop.before'])
      await world.commit({ 'version.txt': 'three\n' }, 'Three')
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'succeeded', JSON.stringify(result.failure))
      for (const answer of await world.answers()) assert.match(answer, /^three /)
      assert.deepEqual(await allAgents(), before)
    })

    test('take and give files of every size, and keep nothing of one whose laptop is killed', async () => {
      const file = join(world.repository, 'file')
      for (const [size, environment] of [
        [262_145, {}],
        [20_000_001, {}],
        [2_000_000, { DPLOY_SSH_WAIT: '0' }],
      ] as const) {
        const bytes = randomBytes(size)
        writeFileSync(file, bytes)
        const there = await ended(start(['copy', 'file', 'production:/tmp/file'], environment))
        assert.equal(there.code, 0, there.stderr)
        const back = await ended(start(['copy', 'web2:/tmp/file', 'back'], environment))
        assert.equal(back.code, 0, back.stderr)
        assert.ok(readFileSync(join(world.repository, 'back')).equals(bytes))
      }
      truncateSync(file, 600_000_000)
      const running = start(['copy', 'file', 'web1:/tmp/part'])
      const parts = async () => (await world.servers[0]!.exec('sh', ['-c', 'ls -A /tmp | grep part'])).stdout.toString()
      const until = async (met: () => Promise<boolean>) => {
        for (const deadline = Date.now() + 30_000; !(await met()); await delay(20))
          assert.ok(Date.now() < deadline, await parts())
      }
      await until(async () => /dploy-/.test(await parts()))
      running.kill('SIGKILL')
      await until(async () => (await parts()) === '')
      for (const name of ['file', 'back']) rmSync(join(world.repository, name))
      assert.equal(await names(), both)
    })

    test('end with the command that speaks to them, when it is killed', async () => {
      const before = await allAgents()
      const running = start(['exec', 'production', '--', 'sleep', '300'])
      for (
        const deadline = Date.now() + 10_000;
        (await world.servers[1]!.exec('pgrep', ['--exact', 'sleep'])).code !== 0;
        await delay(50)
      )
        assert.ok(Date.now() < deadline, 'the command does not run')
      assert.deepEqual(world.waitingAgents(), [], 'something else keeps them too')
      running.kill('SIGKILL')
      await once(running, 'exit')
      await gone(before)
      for (const server of world.servers)
        assert.notEqual((await server.exec('pgrep', ['--exact', 'sleep'])).code, 0, 'what it had started runs on')
      assert.equal(await names(), both)
    })

    test('serve one command each: of two at once, the other starts its own', async () => {
      const answers = await Promise.all([names(), names(), names()])
      assert.deepEqual(answers, [both, both, both])
      const waiting = world.waitingAgents().flatMap(({ agents }) => agents)
      assert.ok(waiting.length <= 2, 'at most one for each server waits, the others have ended')
    })

    test('are not taken for those of another server, when the name leads elsewhere now', async () => {
      const [one, two] = world.servers
      const config = join(world.directory, 'moving-config')
      const text = readFileSync(world.fleet.sshConfig, 'utf8')
      writeFileSync(config, text)
      assert.equal(await names({ DPLOY_SSH_CONFIG: config }), both)
      writeFileSync(
        config,
        `Host web1\n  HostName ${two!.address}\n  HostKeyAlias web2\nHost web2\n  HostName ${one!.address}\n  HostKeyAlias web1\n${text}`,
      )
      assert.equal(await names({ DPLOY_SSH_CONFIG: config }), 'web1: web2\nweb2: web1')
      await world.closeConnections()
    })

    test('are done without where one was killed, and where one does not answer', async () => {
      assert.equal(await names(), both)
      const [killed, stopped] = (await allAgents()).map((agent) => agent.split(' ')[1]!)
      await world.servers[0]!.mustExec('kill', ['-KILL', killed!])
      await world.servers[1]!.mustExec('kill', ['-STOP', stopped!])
      try {
        assert.equal(await names(), both)
      } finally {
        await world.servers[1]!.mustExec('kill', ['-CONT', stopped!])
      }
      await gone([`web2 ${stopped}`])
    })

    test('are as good after a command that left in the middle of what they said', async () => {
      const running = start([
        'exec',
        'production',
        '--on',
        'web1',
        '--',
        'sh',
        '-c',
        'yes 0123456789012345678901234567890123456789 | head -c 30000000',
      ])
      running.stdout.once('data', () => running.stdout.destroy())
      await once(running, 'exit')
      assert.equal(await names(), both)
      assert.match(
        (
          await ended(start(['exec', 'production', '--on', 'web1', '--', 'sh', '-c', 'seq 200000 | md5sum']))
        ).stdout.toString(),
        /[0-9a-f]{32}/,
      )
    })

    test('wait as long as they are told to, and nothing of them is left then, here or there', async () => {
      await world.closeConnections()
      assert.equal(await names({ DPLOY_SSH_WAIT: '1' }), both)
      const [group] = world.waitingAgents()
      assert.equal(group!.agents.length, 2)
      await gone(await allAgents())
      // It has ended, whether or not somebody has taken notice of that.
      assert.match(
        existsSync(`/proc/${group!.holder}`) ? readFileSync(`/proc/${group!.holder}/stat`, 'utf8') : ') Z ',
        /\) Z /,
      )
      assert.equal(await names({ DPLOY_SSH_WAIT: '0' }), both)
      assert.deepEqual(world.waitingAgents(), [])
      assert.deepEqual(await allAgents(), [])
      const { code, stderr } = await ended(start(['exec', 'production', '--', 'hostname'], { DPLOY_SSH_WAIT: 'long' }))
      assert.equal(code, 1)
      assert.match(stderr, /DPLOY_SSH_WAIT is "long", not seconds from 0 to 600/)
    })
  },
)
