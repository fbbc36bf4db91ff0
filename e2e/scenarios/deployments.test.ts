// Needs the machine to itself.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { unavailable } from '../fleet/fleet.ts'
import { startUsers } from '../traffic/users.ts'
import { World, type Outcome } from '../world.ts'

const reason = unavailable()

describe(
  'a fleet of 8 systemd servers behind HAProxy, under load',
  { skip: reason ?? false, concurrency: 1, timeout: 300_000 },
  () => {
    let world: World

    before(async () => {
      world = await World.up({ servers: 8 })
      const first = await world.dploy('deploy', 'production')
      assert.equal(first.result.state, 'succeeded', first.result.failure?.message)
    })
    after(async () => world?.[Symbol.asyncDispose]())

    const allRun = async (text: string) => {
      for (const answer of await world.answers()) assert.match(answer, new RegExp(`^${text} `))
    }

    test('a deployment is not noticed', async (context) => {
      await world.commit({ 'version.txt': 'two\n' }, 'Two')
      await using users = startUsers({ url: world.url, rate: 100 })
      const { code, result } = await world.dploy('deploy', 'production')
      const seen = await users.stop()
      assert.equal(result.state, 'succeeded', result.failure?.message)
      assert.equal(code, 0)
      await allRun('two')
      seen.nobodyNoticed()
      assert.equal(result.receipt!.traffic.failed, 0)
      assert.equal(result.receipt!.servers.filter(({ outcome }) => outcome === 'switched').length, 8)
      context.diagnostic(
        `${result.seconds} s with 1 s bake, overhead ${Math.round(result.receipt!.overheadMs)} ms; users: ${seen.answers.length} requests, ${seen.stalled.length} stalled, p99 ${seen.quantile(0.99).toFixed(1)} ms`,
      )
    })

    test('only what a server lacks travels', async () => {
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'succeeded')
      assert.equal(
        result.receipt!.servers.reduce((sum, { objects }) => sum + objects, 0),
        0,
      )
      assert.ok(result.receipt!.bytes < 8 * 200, `${result.receipt!.bytes} bytes`)
    })

    test('a rollback moves no bytes and is not noticed', async (context) => {
      await world.commit({ 'version.txt': 'three\n' }, 'Three')
      assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
      await allRun('three')
      await using users = startUsers({ url: world.url, rate: 100 })
      const { code, result } = await world.dploy('rollback', 'production')
      const seen = await users.stop()
      assert.equal(code, 0)
      assert.equal(result.state, 'succeeded', result.failure?.message)
      assert.equal(result.receipt!.bytes, 0)
      await allRun('two')
      seen.nobodyNoticed()
      context.diagnostic(`${result.seconds} s; users: ${seen.answers.length} requests, ${seen.stalled.length} stalled`)
    })

    test('a revision that never becomes healthy is rolled back, and nobody notices', async (context) => {
      await world.configure({ service: { health: { path: '/healthz', timeout: '2s' } } })
      await world.commit({ 'version.txt': 'four unhealthy\n' }, 'Never healthy')
      await using users = startUsers({ url: world.url, rate: 100 })
      const { code, result } = await world.dploy('deploy', 'production')
      const seen = await users.stop()
      assert.equal(code, 1)
      assert.equal(result.state, 'rolled_back')
      assert.equal(result.failure!.code, 'service.unhealthy')
      assert.match(result.failure!.where!, /^web\d$/)
      await allRun('two')
      seen.noRequestFailed()
      assert.equal(result.receipt!.traffic.failed, 0)
      context.diagnostic(
        `${result.seconds} s; users: ${seen.answers.length} requests, ${seen.stalled.length} stalled; ${result.failure!.message}`,
      )
    })

    test('what was written into a release is told and put back before it serves again', async () => {
      const evil = async (number: string) =>
        Promise.all(
          world.servers.map((server) =>
            server.mustExec('sh', ['-c', `echo evil > /srv/shop/releases/${number}/version.txt`]),
          ),
        )
      const told = ({ events }: Outcome) =>
        events.filter(({ data }) => data.kind === 'note' && /had been changed.*version\.txt/.test(data.text ?? ''))
      const current = await world.servers[0]!.mustExec('readlink', ['/srv/shop/current'])
      const number = current.trim().replace('releases/', '')
      await evil(number)
      await world.commit({ 'version.txt': 'four b unhealthy\n' }, 'Never healthy')
      const failed = await world.dploy('deploy', 'production')
      assert.equal(failed.result.state, 'rolled_back')
      assert.ok(told(failed).length > 0, 'a server that was switched back starts the code of its commit')

      await world.commit({ 'version.txt': 'three b\n' }, 'Three b')
      assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
      await evil(number)
      const rolled = await world.dploy('rollback', 'production')
      assert.equal(rolled.result.state, 'succeeded', rolled.result.failure?.message)
      assert.equal(told(rolled).length, 8)
      await allRun('two')
    })

    test('a revision that ends 2 s after its first healthy answer is rolled back in its bake time, and nobody notices', async (context) => {
      await world.configure({ strategy: { bake: '4s' } })
      await world.commit({ 'version.txt': 'five dies=2000\n' }, 'Dies after 2 s')
      // Nobody but the balancer can save a POST that is in a process when it ends by itself, and only one that may be repeated.
      await using users = startUsers({ url: world.url, rate: 100, idempotent: true })
      const { code, result } = await world.dploy('deploy', 'production')
      const seen = await users.stop()
      assert.equal(code, 1)
      assert.equal(result.state, 'rolled_back', result.failure?.message)
      assert.equal(result.failure!.code, 'service.exited')
      await allRun('two')
      seen.noRequestFailed()
      context.diagnostic(
        `${result.seconds} s; users: ${seen.answers.length} requests, ${seen.stalled.length} stalled, slowest ${seen.quantile(1).toFixed(0)} ms; ${result.failure!.message.split('\n')[0]}`,
      )
    })

    test('when staging fails on one server, no server has changed', async () => {
      await world.configure()
      await world.commit({ 'version.txt': 'six\n', 'big.txt': `${'x'.repeat(1000)}\n` }, 'Six')
      const victim = world.servers[4]!
      await victim.mustExec('sh', [
        '-c',
        'mv /srv/shop/.dploy/objects /srv/shop/.dploy/objects.away && touch /srv/shop/.dploy/objects',
      ])
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'failed')
      assert.equal(result.failure!.where, victim.name)
      await allRun('two')
      await victim.mustExec('sh', [
        '-c',
        'rm /srv/shop/.dploy/objects && mv /srv/shop/.dploy/objects.away /srv/shop/.dploy/objects',
      ])
      assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
      await allRun('six')
    })

    test('while one deployment runs, a second is told by whom, or waits', async () => {
      await world.commit({ 'version.txt': 'seven\n' }, 'Seven')
      const running = world.start('deploy', 'production')
      await running.until((event) => event.data.state === 'activating')
      const refused = await world.dploy('deploy', 'production')
      assert.equal(refused.result.failure!.code, 'environment.locked')
      assert.match(refused.result.failure!.message, /Deployment \d+ by .+ holds the lock .+ it is (activating|baking)/)
      const waiting = world.dploy('deploy', 'production', '--wait')
      assert.equal((await running.outcome).result.state, 'succeeded')
      assert.equal((await waiting).result.state, 'succeeded')
      await allRun('seven')
    })

    test('a hook after the switch runs on every server; one that takes too long is ended with all that it started', async () => {
      await world.configure({
        extra: { hooks: { after_activate: 'echo "$DPLOY_SERVER serves $DPLOY_RELEASE" > /var/tmp/after-activate' } },
      })
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'succeeded', result.failure?.message)
      const said = await Promise.all(world.servers.map((server) => server.mustExec('cat', ['/var/tmp/after-activate'])))
      const [release] = /\d+\s*$/.exec(said[0]!)!
      assert.deepEqual(
        said.map((text) => text.trim()),
        world.servers.map(({ name }) => `${name} serves ${release.trim()}`),
      )
      await world.configure({
        extra: {
          hooks: { after_stage: { command: 'sleep 7654 & sh -c "sleep 7654; true" & sleep 7654', timeout: '500ms' } },
        },
      })
      const late = await world.dploy('deploy', 'production')
      assert.equal(late.result.state, 'failed')
      assert.match(late.result.failure!.message, /did not end within 500 ms/)
      await allRun('seven')
      for (const server of world.servers)
        assert.doesNotMatch(await server.mustExec('ps', ['-eo', 'args', '--no-headers']), /sleep 7654/)
      await world.configure({ extra: {} })
    })

    test('one failed server may be left out where max_failures allows it, and nobody notices', async (context) => {
      await world.configure({ strategy: { max_failures: 1 }, service: { health: { path: '/healthz', timeout: '1s' } } })
      await world.commit({ 'version.txt': 'tolerant unhealthy=web3\n' }, 'Ill on web3')
      await using users = startUsers({ url: world.url, rate: 100 })
      const { code, result } = await world.dploy('deploy', 'production')
      const outcomes = Object.fromEntries(result.receipt!.servers.map(({ name, outcome }) => [name, outcome]))
      assert.equal(result.state, 'succeeded', result.failure?.message)
      assert.equal(code, 0)
      assert.deepEqual(
        outcomes,
        Object.fromEntries(world.servers.map(({ name }) => [name, name === 'web3' ? 'failed' : 'switched'])),
      )
      // Of the users nobody comes to it, for as long as it is ill.
      for (let asked = 0; asked < 50; asked++) assert.doesNotMatch(await (await fetch(world.url)).text(), /on web3/)
      const seen = await users.stop()
      seen.noRequestFailed()
      context.diagnostic(`users: ${seen.answers.length} requests, ${seen.stalled.length} stalled`)
      await world.configure()
      await world.commit({ 'version.txt': 'well\n' }, 'Well again')
      const cure = await world.dploy('deploy', 'production')
      assert.equal(cure.result.state, 'succeeded', cure.result.failure?.message)
      await allRun('well')
    })

    test('a server that was off during a deployment converges when it returns', async () => {
      await world.configure({ strategy: { max_unavailable: 1 }, extra: {} })
      const absent = world.servers[2]!
      await absent.kill()
      await world.commit({ 'version.txt': 'eight\n' }, 'Eight')
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'succeeded', result.failure?.message)
      assert.equal(result.receipt!.servers.find(({ name }) => name === absent.name)!.outcome, 'unreachable')
      await absent.boot()
      for (
        let tries = 0;
        tries < 100 && !(await world.answers()).every((answer) => answer.startsWith('eight '));
        tries++
      )
        await new Promise((resolve) => setTimeout(resolve, 200))
      await allRun('eight')
    })
  },
)
