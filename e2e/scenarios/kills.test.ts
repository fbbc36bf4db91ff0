import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { unavailable } from '../fleet/fleet.ts'
import { startUsers } from '../traffic/users.ts'
import { World } from '../world.ts'

const reason = unavailable()

describe('kill -9 in the middle of a deployment', { skip: reason ?? false, concurrency: 1, timeout: 400_000 }, () => {
  let world: World
  let count = 0

  before(async () => {
    world = await World.up({ servers: 4 })
    const first = await world.dploy('deploy', 'production')
    assert.equal(first.result.state, 'succeeded', first.result.failure?.message)
  })
  after(async () => world?.[Symbol.asyncDispose]())

  /** All servers answer with the same words; which. */
  const theOneRelease = async (): Promise<string> => {
    const answers = (await world.answers()).map((answer) => answer.split(' on ')[0])
    assert.equal(new Set(answers).size, 1, answers.join(', '))
    return answers[0]!
  }

  const nobodyHoldsTheLock = async () => {
    const refused = await world.dploy('deploy', 'production')
    assert.equal(refused.result.state, 'succeeded', refused.result.failure?.message)
  }

  for (const [state, slow] of [
    ['resolving', {}],
    ['building', { extra: { build: { command: 'sleep 0.7' } } }],
    ['staging', { extra: { hooks: { after_stage: 'sleep 0.7' } } }],
    ['committing', { extra: { release_command: 'sleep 0.7; echo once >> /var/tmp/release-commands' } }],
    ['activating', {}],
    ['baking', { strategy: { bake: '2s' } }],
    ['rolling_back', { service: { health: { path: '/healthz', timeout: '1s' } } }],
  ] as const) {
    test(`of the control plane while ${state.replace('_', ' ')}: the next one ends it on one release`, async (context) => {
      const before = await theOneRelease()
      await world.configure(slow)
      const version = `kill${++count}`
      await world.commit(
        { 'version.txt': `${version}${state === 'rolling_back' ? ' unhealthy=web3' : ''}\n` },
        `Kill while ${state}`,
      )
      await using users = startUsers({ url: world.url, rate: 100 })
      const running = world.start('deploy', 'production')
      await running.until((event) => event.data.kind === 'state' && event.data.state === state)
      await world.killControl()
      await world.startControl()
      const { result } = await running.outcome
      const seen = await users.stop()
      const now = await theOneRelease()
      if (result.state === 'succeeded') assert.match(now, new RegExp(`^${version} `))
      else assert.equal(now, before)
      if (state === 'rolling_back') assert.equal(result.state, 'rolled_back', JSON.stringify(result.failure))
      else assert.equal(result.state, 'succeeded', JSON.stringify(result.failure))
      seen.noRequestFailed()
      if (state === 'committing') {
        const counts = await Promise.all(
          world.servers.map((server) => server.exec('cat', ['/var/tmp/release-commands'])),
        )
        assert.equal(counts.map(({ stdout }) => stdout).join(''), 'once\n')
      }
      context.diagnostic(
        `${result.state} after ${result.seconds} s; users: ${seen.answers.length} requests, ${seen.stalled.length} stalled`,
      )
    })
  }

  for (const [state, slow] of [
    ['staging', { extra: { hooks: { after_stage: 'sleep 0.7' } } }],
    ['draining', {}],
    ['activating', { extra: { hooks: { before_activate: 'sleep 0.3' } } }],
    ['registering', {}],
    ['switched', { strategy: { bake: '2s' } }],
    ['reverting', { service: { health: { path: '/healthz', timeout: '1s' } } }],
  ] as const) {
    test(`of an agent while its server is ${state}: it comes back and the deployment ends on one release`, async (context) => {
      const before = await theOneRelease()
      await world.configure(slow)
      const version = `agent${++count}`
      await world.commit(
        { 'version.txt': `${version}${state === 'reverting' ? ' unhealthy=web3' : ''}\n` },
        `Kill an agent while ${state}`,
      )
      const victim = world.servers[1]!
      await using users = startUsers({ url: world.url, rate: 100 })
      const running = world.start('deploy', 'production')
      await running.until(
        (event) => event.server === victim.name && event.data.kind === 'step' && event.data.state === state,
      )
      await victim.mustExec('systemctl', ['kill', '--kill-who=main', '--signal=KILL', 'dploy-agent'])
      const { result } = await running.outcome
      const seen = await users.stop()
      const now = await theOneRelease()
      if (result.state === 'succeeded') assert.match(now, new RegExp(`^${version} `))
      else assert.equal(now, before)
      if (state === 'reverting') assert.equal(result.state, 'rolled_back', JSON.stringify(result.failure))
      seen.noRequestFailed()
      context.diagnostic(
        `${result.state} after ${result.seconds} s; users: ${seen.answers.length} requests, ${seen.stalled.length} stalled`,
      )
    })
  }

  test('of an agent in the middle of the release command: it is not run a second time, nothing is switched, and the next deployment runs it', async (context) => {
    const before = await theOneRelease()
    const log = '/var/tmp/cut-off-commands'
    await world.configure({ extra: { release_command: `echo begun >> ${log}; sleep 1` } })
    await world.commit({ 'version.txt': 'migrated\n' }, 'Migrate')
    await using users = startUsers({ url: world.url, rate: 100 })
    const running = world.start('deploy', 'production')
    let name: string | null = null
    await running.until((event) => {
      if (event.data.kind === 'progress' && event.data.phase === 'release command') name = event.server
      return name !== null
    })
    const server = world.servers.find((one) => one.name === name)!
    for (let tries = 0; (await server.exec('test', ['-e', log])).code !== 0; tries++)
      assert.ok(tries < 50, 'the command does not begin')
    await server.mustExec('systemctl', ['kill', '--kill-who=main', '--signal=KILL', 'dploy-agent'])
    const { code, result } = await running.outcome
    const seen = await users.stop()
    assert.deepEqual([code, result.state, result.failure!.code], [1, 'failed', 'release.command_failed'])
    assert.match(result.failure!.message, /was cut off in the middle, and is not run again/)
    assert.equal(await theOneRelease(), before)
    seen.noRequestFailed()
    const begun = async () =>
      (await Promise.all(world.servers.map((one) => one.exec('cat', [log])))).map(({ stdout }) => stdout).join('')
    assert.equal(await begun(), 'begun\n')
    const next = await world.dploy('deploy', 'production')
    assert.equal(next.result.state, 'succeeded', JSON.stringify(next.result.failure))
    assert.match(await theOneRelease(), /^migrated /)
    assert.equal(await begun(), 'begun\nbegun\n')
    context.diagnostic(`users: ${seen.answers.length} requests, ${seen.stalled.length} stalled`)
  })

  test('no lock is left behind', nobodyHoldsTheLock)
})
