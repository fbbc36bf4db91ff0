import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { unavailable } from '../fleet/fleet.ts'
import { startUsers } from '../traffic/users.ts'
import { World } from '../world.ts'

const missing = unavailable()

describe(
  'the balancer is asked before a server leaves the traffic',
  { skip: missing === null ? false : missing, timeout: 240_000 },
  () => {
    let world: World

    /** A command to HAProxy, as an operator types it. */
    const haproxy = async (command: string) => {
      const socket = connect(join(world.directory, 'haproxy.sock'))
      socket.end(`${command}\n`)
      return text(socket)
    }
    const states = async () => {
      const rows = (await haproxy('show stat -1 4 -1')).split('\n').map((line) => line.split(','))
      const status = rows[0]!.indexOf('status')
      return Object.fromEntries(rows.slice(1).flatMap((row) => (row[1] ? [[row[1], row[status]!]] : [])))
    }
    const until = async (server: string, state: RegExp) => {
      for (const deadline = Date.now() + 20_000; !state.test((await states())[server]!);) {
        assert.ok(Date.now() < deadline, `${server} is ${(await states())[server]}`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
    const notes = (events: { data: { kind: string; text?: string } }[]) =>
      events.flatMap(({ data }) => (data.kind === 'note' ? [data.text!] : [])).join('\n')

    before(async () => {
      world = await World.up({ servers: 3, strategy: { batch: 1, min_healthy: 1, bake: '300ms' } })
      // What serves before the first deployment: a unit of the team's own, on the port that the release takes over.
      await Promise.all(
        world.servers.map(async (server) => {
          await server.write(
            '/opt/before.mjs',
            `import http from 'node:http'
http.createServer((_, response) => response.end('before')).listen(${world.port})
process.on('SIGTERM', () => process.exit(0))
`,
          )
          await server.write(
            '/etc/systemd/system/before.service',
            '[Service]\nExecStart=/opt/dploy/node /opt/before.mjs\nRestart=always\n',
          )
          await server.write('/opt/well', '')
          await server.mustExec('systemctl', ['start', 'before'])
        }),
      )
      for (const { name } of world.servers) await until(name, /^UP/)
    })

    after(async () => {
      await world?.[Symbol.asyncDispose]()
    })

    test('a first deployment that fails leaves what served before as it was, and in traffic', async () => {
      await world.configure({
        service: { replaces: ['before.service'] },
        strategy: { batch: 1, min_healthy: 1, bake: '300ms' },
      })
      await world.commit({ 'version.txt': 'broken dies=1\n' }, 'Broken')
      await using users = startUsers({ url: world.url, rate: 80 })
      const { result } = await world.dploy('deploy', 'production')
      const seen = await users.stop()
      assert.equal(result.state, 'failed')
      seen.noRequestFailed()
      assert.deepEqual(await world.answers(), ['before', 'before', 'before'])
      for (const [name, state] of Object.entries(await states())) assert.match(state, /^UP/, name)
    })

    test('a first deployment beside what serves already goes batch by batch', async () => {
      await world.configure({
        service: { replaces: ['before.service'] },
        strategy: { batch: 1, min_healthy: 1, bake: '300ms' },
      })
      await world.commit({ 'version.txt': 'one boot=700 needs=/opt/well\n' }, 'One')
      await using users = startUsers({ url: world.url, rate: 80 })
      const { result } = await world.dploy('deploy', 'production')
      const seen = await users.stop()
      assert.equal(result.state, 'succeeded', result.failure?.message)
      seen.noRequestFailed()
      assert.deepEqual(
        (await world.answers()).map((answer) => answer.split(' ')[0]),
        ['one', 'one', 'one'],
      )
    })

    test('a server that is down goes first, and the last one that serves waits until it serves', async () => {
      await world.configure()
      // Its health check fails from now on, and with the next release no longer.
      for (const server of [world.servers[1]!, world.servers[2]!]) await server.mustExec('rm', ['/opt/well'])
      await until('web2', /^DOWN/)
      await until('web3', /^DOWN/)
      await world.commit({ 'version.txt': 'two boot=700\n' }, 'Two')
      await using users = startUsers({ url: world.url, rate: 80 })
      const { result } = await world.dploy('deploy', 'production')
      const seen = await users.stop()
      assert.equal(result.state, 'succeeded', result.failure?.message)
      seen.noRequestFailed()
      assert.deepEqual(
        (await world.answers()).map((answer) => answer.split(' ')[0]),
        ['two', 'two', 'two'],
      )
    })

    test('a server that an operator took out gets the release and stays out, and that is told', async () => {
      await haproxy('set server shop/web2 state maint')
      await world.commit({ 'version.txt': 'three\n' }, 'Three')
      await using users = startUsers({ url: world.url, rate: 80 })
      const { result, events } = await world.dploy('deploy', 'production')
      const seen = await users.stop()
      assert.equal(result.state, 'succeeded', result.failure?.message)
      seen.noRequestFailed()
      assert.match((await states())['web2']!, /^MAINT/)
      assert.match(
        notes(events),
        /somebody else took it out of traffic: it gets the release and stays out, until: dploy server ready web2/,
      )
      assert.equal((await world.answers())[1]!.split(' ')[0], 'three', 'it has the release')
    })

    test('the last server in traffic is not drained: refused before anything changes, with whose doing it is', async () => {
      await haproxy('set server shop/web3 state drain')
      await world.commit({ 'version.txt': 'four\n' }, 'Four')
      await using users = startUsers({ url: world.url, rate: 80 })
      const { result } = await world.dploy('deploy', 'production')
      const seen = await users.stop()
      assert.equal(result.state, 'failed')
      assert.equal(result.failure!.code, 'environment.last_serving')
      assert.equal(
        result.failure!.message,
        'web1 is the last server in traffic: web2 is out of traffic, web3 is out of traffic at the balancer',
      )
      assert.deepEqual(seen.failed, [])
      assert.equal((await world.answers())[0]!.split(' ')[0], 'three')
    })

    test('dploy server ready brings them back, and the deployment goes on', async () => {
      for (const name of ['web2', 'web3']) await world.show('server', 'ready', name)
      await until('web2', /^UP/)
      await until('web3', /^UP/)
      await using users = startUsers({ url: world.url, rate: 80 })
      const { result } = await world.dploy('deploy', 'production')
      const seen = await users.stop()
      assert.equal(result.state, 'succeeded', result.failure?.message)
      seen.noRequestFailed()
      for (const state of Object.values(await states())) assert.match(state, /^UP/)
    })
  },
)
