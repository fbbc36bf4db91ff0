import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { unavailable } from '../fleet/fleet.ts'
import { startUsers } from '../traffic/users.ts'
import { World } from '../world.ts'

const missing = unavailable()
const program = fileURLToPath(new URL('../../bin/dploy', import.meta.url))

for (const [user, count] of [
  ['root', 2],
  ['deploy', 8],
] as const) {
  describe(
    `${count} bare servers that ssh reaches as ${user === 'root' ? 'root' : 'a user with sudo -n'}, and that get agents of their own`,
    { skip: missing === null ? false : missing, timeout: 240_000, concurrency: 1 },
    () => {
      let world: World
      let config: string
      const say = (...args: string[]) => sayWith({}, ...args)
      const sayWith = (env: NodeJS.ProcessEnv, ...args: string[]) =>
        promisify(execFile)(program, args, {
          cwd: world.repository,
          env: { ...world.environment, NO_COLOR: '1', ...env },
        }).then(
          ({ stdout }) => ({ code: 0, stdout, stderr: '' }),
          (error: { code: number; stdout: string; stderr: string }) => error,
        )

      before(async () => {
        world = await World.up({ servers: count, ssh: user, strategy: { batch: '50%' } })
        config = readFileSync(join(world.repository, 'dploy.yml'), 'utf8')
        assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
      })
      after(async () => world?.[Symbol.asyncDispose]())

      test('without a control plane there is nothing that an agent could dial', async () => {
        const { code, stderr } = await say('server', 'add', 'web1')
        assert.equal(code, 1)
        assert.match(stderr, /No control plane runs here[^]*next: Start one: dploy serve/)
      })

      test('dploy server add installs them, and leaves no token behind', async (context) => {
        await world.startControl()
        const began = performance.now()
        const { code, stdout, stderr } = await say(
          'server',
          'add',
          ...world.servers.map(({ name }) => name),
          '--environment',
          'production',
        )
        assert.equal(code, 0, stderr)
        context.diagnostic(`${count} servers in ${((performance.now() - began) / 1000).toFixed(1)} s`)
        for (const { name } of world.servers) assert.match(stdout, new RegExp(`^${name} is a server now`, 'm'))
        const [server] = world.servers
        assert.equal((await server!.exec('grep', ['-rl', 'dploy_join_', '/var/lib/dploy', '/etc/systemd'])).stdout, '')
        assert.match((await say('server', 'list')).stdout, /web1 .*connected/)
      })

      test('the same dploy.yml deploys through the control plane now, and nobody notices', async () => {
        await world.commit({ 'version.txt': 'two\n' }, 'Two')
        await using users = startUsers({ url: world.url, rate: 100 })
        const { result } = await world.dploy('deploy', 'production')
        assert.equal(result.state, 'succeeded', result.failure?.message)
        assert.deepEqual(new Set((await world.answers()).map((answer) => answer.split(' ')[0])), new Set(['two']))
        ;(await users.stop()).noRequestFailed()
        assert.equal(readFileSync(join(world.repository, 'dploy.yml'), 'utf8'), config)
      })

      test('added again it stays the same server', async () => {
        const before = JSON.parse((await say('server', 'show', 'web1', '--json')).stdout) as { id: string }
        assert.equal((await say('server', 'add', 'web1')).code, 0)
        assert.equal(
          (JSON.parse((await say('server', 'show', 'web1', '--json')).stdout) as { id: string }).id,
          before.id,
        )
      })

      // The same for every user.
      if (user === 'root')
        test('by a dploy of another version than the control plane, on a server that downloads nothing, it gets that agent and follows the control plane', async () => {
          const server = world.servers[0]!
          assert.notEqual((await server.exec('sh', ['-c', 'command -v curl || command -v wget'])).code, 0)
          const here = async () =>
            JSON.parse((await say('server', 'show', 'web1', '--json')).stdout) as {
              connected: boolean
              agent: { program: string } | null
            }
          const before = (await here()).agent!.program
          const other = join(world.directory, 'other.mjs')
          writeFileSync(
            other,
            `${readFileSync(fileURLToPath(new URL('../../dist/agent.mjs', import.meta.url)), 'utf8')}\n// of another version\n`,
          )
          await server.mustExec('sh', ['-c', 'systemctl stop dploy-agent && rm -r /var/lib/dploy/agent'])
          const { code, stderr } = await sayWith({ DPLOY_AGENT: other }, 'server', 'add', 'web1')
          assert.equal(code, 0, stderr)
          for (const deadline = Date.now() + 30_000; ; await delay(200)) {
            const { connected, agent } = await here()
            if (
              connected &&
              agent?.program === before &&
              (await server.exec('test', ['-e', '/var/lib/dploy/agent/trial'])).code !== 0
            )
              break
            assert.ok(Date.now() < deadline, JSON.stringify(agent))
          }
          await world.commit({ 'version.txt': 'three\n' }, 'Three')
          const { result } = await world.dploy('deploy', 'production')
          assert.equal(result.state, 'succeeded', result.failure?.message)
        })

      test('one that ssh does not reach is told, and keeps no other from being added', async () => {
        const { code, stdout, stderr } = await say('server', 'add', 'nowhere', 'web1')
        assert.equal(code, 1)
        assert.match(stdout, /^web1 is a server now/m)
        assert.match(stdout, /^nowhere: The name nowhere does not resolve/m)
        assert.match(stderr, /nowhere/)
      })
    },
  )
}
