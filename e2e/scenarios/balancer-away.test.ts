import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { unavailable } from '../fleet/fleet.ts'
import { World } from '../world.ts'

const missing = unavailable()

describe(
  'a balancer or a server that goes away in the middle of a deployment',
  { skip: missing === null ? false : missing, timeout: 240_000 },
  () => {
    let world: World
    const words = async () => (await world.answers()).map((answer) => answer.split(' ')[0])
    const stepOf =
      (name: string, state: string) => (event: { server: string | null; data: { kind: string; state?: string } }) =>
        event.server === name && event.data.kind === 'step' && event.data.state === state
    const notes = (events: { data: { kind: string; text?: string } }[]) =>
      events.flatMap(({ data }) => (data.kind === 'note' ? [data.text!] : [])).join('\n')

    before(async () => {
      world = await World.up({ servers: 3, strategy: { batch: 1, bake: '300ms', guard: 'off' } })
      assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
    })

    after(async () => {
      await world?.[Symbol.asyncDispose]()
    })

    test('HAProxy that restarts is asked again, and the deployment succeeds', async () => {
      await world.commit({ 'version.txt': 'two boot=500\n' }, 'Two')
      const deployment = world.start('deploy', 'production')
      await deployment.until(stepOf('web2', 'activating'))
      await world.stopHaproxy()
      // As long as a restart takes: what is measured is that it is waited for.
      await new Promise((resolve) => setTimeout(resolve, 1_500))
      await world.startHaproxy()
      const { result, events } = await deployment.outcome
      assert.equal(result.state, 'succeeded', result.failure?.message)
      assert.deepEqual(await words(), ['two', 'two', 'two'])
      assert.match(notes(events), /HAProxy at .* cannot be reached: .*; asking again for 30 s/)
      assert.match(notes(events), /the balancer answers again/)
    })

    test('on the way back it is waited for as well: all servers end on one release', async () => {
      await world.commit({ 'version.txt': 'three dies=400\n' }, 'Three')
      const deployment = world.start('deploy', 'production')
      await deployment.until(
        ({ data }) => data.kind === 'state' && (data as { state?: string }).state === 'rolling_back',
      )
      await world.stopHaproxy()
      await new Promise((resolve) => setTimeout(resolve, 1_500))
      await world.startHaproxy()
      const { result } = await deployment.outcome
      assert.equal(result.state, 'rolled_back', result.failure?.message)
      assert.deepEqual(await words(), ['two', 'two', 'two'])
    })

    test('a server whose power is cut while it activates ends the deployment with the others on the release before', async () => {
      await world.commit({ 'version.txt': 'four boot=3000\n' }, 'Four')
      await world.configure({
        strategy: { batch: 1, bake: '300ms', guard: 'off' },
        environment: { timeouts: { activate: '6s', reach: '2s' } },
      })
      const deployment = world.start('deploy', 'production')
      await deployment.until(stepOf('web2', 'activating'))
      await world.servers[1]!.kill()
      const { result } = await deployment.outcome
      assert.equal(result.state, 'failed')
      assert.equal(result.failure!.code, 'server.activate_failed')
      assert.match(result.failure!.message, /^Rolled back, but web2 could not be: .*\. web1 serves release \d+ again$/)
      const [web1, , web3] = await words()
      assert.deepEqual([web1, web3], ['two', 'two'])
    })
  },
)
