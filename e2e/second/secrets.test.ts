import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { unavailable } from '../fleet/fleet.ts'
import { startUsers } from '../traffic/users.ts'
import { World } from '../world.ts'

const missing = unavailable()
const program = fileURLToPath(new URL('../../bin/dploy', import.meta.url))
const value = 'the-value-that-both-have'

describe(
  'two laptops with a secret each, and 2 servers',
  { skip: missing === null ? false : missing, concurrency: 1, timeout: 240_000 },
  () => {
    let world: World
    let other: Awaited<ReturnType<World['clone']>>

    before(async () => {
      world = await World.up({
        servers: 2,
        ssh: 'root',
        strategy: { batch: 1, bake: '3s' },
        extra: {
          secrets: ['TOKEN'],
          release_command: 'test -n "$TOKEN"',
          hooks: { before_activate: 'echo "hook has $TOKEN"' },
        },
      })
      other = await world.clone('other')
      await setSecret(world.repository, value)
      await setSecret(other.directory, `${value}-too`)
      const first = await world.dploy('deploy', 'production')
      assert.equal(first.result.state, 'succeeded', first.result.failure?.message)
    })
    after(async () => world?.[Symbol.asyncDispose]())

    test('the other one deploys over the release of the first, whose release command looks at it', async () => {
      await world.commit({ 'version.txt': 'two\n' }, 'Two')
      await other.pull()
      await using users = startUsers({ url: world.url, rate: 50 })
      const { result } = await other.start('deploy', 'production').outcome
      assert.equal(result.state, 'succeeded', JSON.stringify(result.failure))
      ;(await users.stop()).noRequestFailed()
      assert.deepEqual(await inService(), [`${value}-too`, `${value}-too`])
    })

    test('a release of the other one that dies is switched back on every server, and nobody is left out', async () => {
      // It serves well for a moment: what the health check lets pass and the bake does not.
      await world.configure({ strategy: { bake_batch: '2s' } })
      await world.commit({ 'version.txt': 'mortal dies=1500\n' }, 'Dies')
      // Only the balancer can save a request that is in a process when it ends by itself, where it may be repeated.
      await using users = startUsers({ url: world.url, rate: 100, idempotent: true })
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'rolled_back', JSON.stringify(result.failure))
      const seen = await users.stop()
      seen.noRequestFailed()
      assert.deepEqual(await inService(), [`${value}-too`, `${value}-too`])
      for (const answer of await world.answers()) assert.match(answer, /^two /)
      // UP 1/2: up, with a check that failed a moment ago.
      for (const state of await balancerStates()) assert.match(state, /^UP/)
    })

    test('each goes back to what the other made, also where the value was changed and removed meanwhile, and no log shows it', async () => {
      await setSecret(world.repository, 'another-value-since')
      assert.equal((await dploy(world.repository, ['secret', 'remove', 'production', 'TOKEN'])).code, 0)
      assert.equal((await dploy(other.directory, ['secret', 'remove', 'production', 'TOKEN'])).code, 0)
      await using users = startUsers({ url: world.url, rate: 50 })
      const { result, events } = await other.start('rollback', 'production', '--release', '1').outcome
      assert.equal(result.state, 'succeeded', JSON.stringify(result.failure))
      assert.deepEqual(await inService(), [value, value])
      const printed = events.flatMap(({ data }) => (data.kind === 'output' ? [data.text] : [])).join('')
      assert.match(printed, /hook has \*\*\*/)
      const again = await world.dploy('rollback', 'production', '--release', '2')
      assert.equal(again.result.state, 'succeeded', JSON.stringify(again.result.failure))
      ;(await users.stop()).noRequestFailed()
      assert.deepEqual(await inService(), [`${value}-too`, `${value}-too`])
    })

    test('a server that cannot run its release again is told of before the commit point, and can be overruled', async () => {
      await setSecret(other.directory, value)
      await world.configure()
      await world.commit({ 'version.txt': 'three\n' }, 'Three')
      await other.pull()
      await world.servers[0]!.mustExec('rm', ['-r', '/var/lib/dploy/kept'])
      const { result } = await other.start('deploy', 'production').outcome
      assert.equal(result.state, 'failed')
      assert.equal(result.failure!.code, 'release.no_way_back', JSON.stringify(result.failure))
      assert.match(result.failure!.message, /Release 2 .*web1.*TOKEN/)
      for (const answer of await world.answers()) assert.match(answer, /^two /)
      const forced = await other.start('deploy', 'production', '--no-way-back').outcome
      assert.equal(forced.result.state, 'succeeded', JSON.stringify(forced.result.failure))
      for (const answer of await world.answers()) assert.match(answer, /^three /)
    })

    test('what servers keep is for root alone, and goes with its release', async () => {
      for (const server of world.servers) {
        const listed = await server.mustExec('find', ['/var/lib/dploy/kept', '-printf', '%m %u %y\n'])
        for (const line of listed.trim().split('\n')) assert.match(line, /^(700 root d|600 root f)$/)
        assert.equal((await server.exec('grep', ['-rl', value, '/srv/shop'])).stdout, '')
      }
    })

    async function balancerStates(): Promise<string[]> {
      const { connect } = await import('node:net')
      const socket = connect(join(world.directory, 'haproxy.sock'))
      socket.end('show stat -1 4 -1\n')
      const rows = (await text(socket)).trim().split('\n')
      return rows
        .slice(1)
        .filter((row) => row.startsWith('shop,web'))
        .map((row) => row.split(',')[17]!)
    }

    function inService(): Promise<string[]> {
      return Promise.all(
        world.servers.map(async (server) => {
          const { stdout } = await server.exec('sh', [
            '-c',
            'cat /proc/$(systemctl show --property MainPID --value dploy-shop-production.service)/environ',
          ])
          const line = stdout.split('\0').find((one) => one.startsWith('TOKEN='))
          return line?.slice('TOKEN='.length) ?? ''
        }),
      )
    }

    async function setSecret(directory: string, secret: string): Promise<void> {
      const { code, stderr } = await dploy(directory, ['secret', 'set', 'production', 'TOKEN'], `${secret}\n`)
      assert.equal(code, 0, stderr)
    }

    async function dploy(
      directory: string,
      args: string[],
      input = '',
    ): Promise<{ code: number | null; stderr: string }> {
      const child = spawn(program, [...args, '--json'], {
        cwd: directory,
        stdio: ['pipe', 'ignore', 'pipe'],
        env: world.environment,
      })
      child.stdin.end(input)
      const [stderr] = await Promise.all([text(child.stderr), new Promise((resolve) => child.once('close', resolve))])
      return { code: child.exitCode, stderr }
    }
  },
)
