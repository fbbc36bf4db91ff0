import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { unavailable } from '../fleet/fleet.ts'
import { startUsers } from '../traffic/users.ts'
import { World } from '../world.ts'

const missing = unavailable()
const program = fileURLToPath(new URL('../../bin/dploy', import.meta.url))

describe(
  'a deployment that waits for a person between batches, on four servers in two zones',
  { skip: missing === null ? false : missing, timeout: 240_000, concurrency: 1 },
  () => {
    let world: World
    const zones = () => ({
      servers: world.servers.map(({ name, address }, index) => ({
        name,
        address,
        tags: { zone: index < 2 ? 'a' : 'b' },
      })),
    })
    const say = async (...args: string[]) =>
      (
        await promisify(execFile)(program, args, { cwd: world.repository, env: world.environment }).catch(
          (error: { stdout: string }) => error,
        )
      ).stdout
    const words = async () => (await world.answers()).map((answer) => answer.split(' ')[0])
    const waits = ({ data }: { data: object }) => (data as { waiting?: object | null }).waiting != null

    before(async () => {
      world = await World.up({ servers: 4, strategy: { batch: 1, bake: '300ms' } })
      await world.configure({ environment: zones() })
      assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
    })
    after(async () => world?.[Symbol.asyncDispose]())

    test('zone b goes first, then it waits, also over the end of the control plane, until somebody promotes it', async () => {
      await world.configure({ environment: zones(), strategy: { order: ['zone=b'], pause: 'after_group' } })
      await world.commit({ 'version.txt': 'two\n' }, 'Two')
      await using users = startUsers({ url: world.url, rate: 100 })
      const deployment = world.start('deploy', 'production')
      await deployment.until(waits)
      assert.deepEqual(await words(), ['one', 'one', 'two', 'two'])
      assert.match(
        await say('status'),
        /waits for a person: dploy\.yml pauses after a group of servers\n\s+next: dploy promote/,
      )
      await world.killControl()
      await world.startControl()
      assert.match(await say('status'), /waits for a person/)
      assert.deepEqual(await words(), ['one', 'one', 'two', 'two'])
      assert.match(await say('promote', 'production'), /Deployment \d+ of shop to production goes on/)
      const { result, events } = await deployment.outcome
      assert.equal(result.state, 'succeeded', result.failure?.message)
      assert.deepEqual(await words(), ['two', 'two', 'two', 'two'])
      const said = events
        .filter(({ data }) => data.kind === 'waiting')
        .map(({ data }) => (data as { by?: string | null }).by)
      assert.deepEqual([said[0], typeof said.at(-1)], [null, 'string'], 'who let it go on is told')
      ;(await users.stop()).noRequestFailed()
    })

    test('paused by a person it stops before the next batch, and goes back when it is aborted', async () => {
      await world.configure({ environment: zones(), strategy: { bake_batch: '1s' } })
      await world.commit({ 'version.txt': 'three\n' }, 'Three')
      await using users = startUsers({ url: world.url, rate: 100 })
      const deployment = world.start('deploy', 'production')
      await deployment.until(({ data }) => data.state === 'switched')
      assert.match(await say('pause'), /stops before its next batch/)
      await deployment.until(waits)
      assert.deepEqual(await words(), ['three', 'two', 'two', 'two'])
      assert.match(await say('abort'), /what was switched is switched back/)
      const { result } = await deployment.outcome
      assert.equal(result.state, 'rolled_back')
      assert.equal(result.failure!.code, 'deployment.cancelled')
      assert.deepEqual(await words(), ['two', 'two', 'two', 'two'])
      assert.doesNotMatch(await say('status'), /waits for a person/)
      assert.match(await say('promote', '--json'), /No deployment runs/)
      ;(await users.stop()).noRequestFailed()
    })

    test('for which nobody comes goes back when its time is up', async () => {
      await world.configure({ environment: zones(), strategy: { pause: 'after_batch', pause_limit: '1s' } })
      await world.commit({ 'version.txt': 'four\n' }, 'Four')
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'rolled_back')
      assert.equal(result.failure!.code, 'deployment.not_promoted')
      assert.deepEqual(await words(), ['two', 'two', 'two', 'two'])
    })

    test('of whose canary too little is seen asks', async () => {
      await world.configure({
        environment: zones(),
        strategy: { kind: 'canary', canary: 1, judge: '1s', inconclusive: 'ask' },
      })
      await world.commit({ 'version.txt': 'five\n' }, 'Five')
      const deployment = world.start('deploy', 'production')
      await deployment.until(waits)
      assert.deepEqual(await words(), ['five', 'two', 'two', 'two'])
      assert.match(await say('status'), /the canary is inconclusive/)
      await say('resume')
      assert.equal((await deployment.outcome).result.state, 'succeeded')
      assert.deepEqual(await words(), ['five', 'five', 'five', 'five'])
    })

    test('keeps as many servers in traffic as it is told to, or does not begin', async () => {
      await world.configure({ environment: zones(), strategy: { batch: '50%', min_healthy: '75%' } })
      await world.commit({ 'version.txt': 'six\n' }, 'Six')
      const { events, result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'succeeded')
      assert.deepEqual(
        events.flatMap(({ data }) =>
          data.kind === 'plan'
            ? [(data as unknown as { plan: { batches: string[][] } }).plan.batches.map(({ length }) => length)]
            : [],
        ),
        [[1, 1, 1, 1]],
      )
      await world.configure({ environment: zones(), strategy: { min_healthy: 4 } })
      await world.commit({ 'version.txt': 'seven\n' }, 'Seven')
      const refused = await world.dploy('deploy', 'production')
      assert.equal(refused.result.failure!.code, 'environment.too_few_healthy')
      assert.deepEqual(await words(), ['six', 'six', 'six', 'six'])
    })

    test('keeps them also when a server has failed that may fail: it goes on with fewer at a time, or goes back', async () => {
      await world.configure({
        environment: zones(),
        strategy: { max_failures: 1, min_healthy: 3 },
        service: { health: { path: '/healthz', timeout: '2s' } },
      })
      await world.commit({ 'version.txt': 'eight unhealthy=web1\n' }, 'Eight')
      const back = await world.dploy('deploy', 'production')
      assert.deepEqual([back.result.state, back.result.failure?.code], ['rolled_back', 'environment.too_few_healthy'])
      assert.deepEqual(await words(), ['six', 'six', 'six', 'six'])
      await world.configure({
        environment: zones(),
        strategy: { batch: 2, max_failures: 1, min_healthy: 2 },
        service: { health: { path: '/healthz', timeout: '2s' } },
      })
      await world.commit({ 'version.txt': 'nine unhealthy=web1\n' }, 'Nine')
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'succeeded', result.failure?.message)
      const out = ['web3', 'web4']
        .map((name) => result.receipt!.servers.find((server) => server.name === name)!.spans)
        .map((spans) => ({
          from: spans.find(({ name }) => name === 'drain')!.start,
          to: spans.find(({ name }) => name === 'register')!.end,
        }))
        .sort((a, b) => a.from - b.from)
      assert.ok(out[0]!.to <= out[1]!.from, 'one after the other, since web1 is out of traffic')
    })
  },
)
