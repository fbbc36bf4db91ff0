import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { unavailable } from '../fleet/fleet.ts'
import { startUsers } from '../traffic/users.ts'
import { World } from '../world.ts'

const missing = unavailable()

interface Measured {
  verdict: { kind: string; sentence: string }
  traffic: {
    failed: number
    balancer: { requests: number; serverErrors: number }
    users: Record<'old' | 'new' | 'switching', { requests: number; failed: number }>
  }
}

describe(
  'a release that answers its users with errors while the probe sees none, behind HAProxy',
  { skip: missing === null ? false : missing, timeout: 240_000 },
  () => {
    let world: World
    const words = async () => (await world.answers()).map((answer) => answer.split(' ')[0])
    /** The probe asks what is always well; users ask the pages. */
    const configure = (guard: string) =>
      world.configure({
        strategy: { batch: 1, bake_batch: '1s', bake: '2s', guard },
        environment: { probe: `${world.url}healthz` },
      })

    before(async () => {
      world = await World.up({ servers: 3 })
      await configure('on')
      assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
    })

    after(async () => {
      await world?.[Symbol.asyncDispose]()
    })

    test('is rolled back by the guard, and the verdict names its share', async (context) => {
      await using users = startUsers({ url: world.url, rate: 200 })
      await world.commit({ 'version.txt': 'bad fails=0.1\n' }, 'Bad')
      const { result } = await world.dploy('deploy', 'production')
      await users.stop()
      assert.equal(result.state, 'rolled_back', result.failure?.message)
      assert.equal(result.failure!.code, 'guard.worse')
      assert.deepEqual(await words(), ['one', 'one', 'one'])
      const { verdict, traffic } = result.receipt as unknown as Measured
      assert.equal(verdict.kind, 'worse')
      assert.match(
        verdict.sentence,
        /^\d+\.\d % of the new release's answers were errors \(before: 0\.0 %\): \d+ of [\d,]+ requests$/,
      )
      assert.equal(traffic.failed, 0, 'the probe asks what is always well')
      assert.equal(traffic.users.old.failed, 0)
      context.diagnostic(`${result.seconds} s; ${verdict.sentence}`)
    })

    test('with guard: off the verdict is still right', async () => {
      await configure('off')
      await world.commit({ 'version.txt': 'off fails=0.2\n' }, 'Bad, and nobody guards')
      await using users = startUsers({ url: world.url, rate: 200 })
      const { result } = await world.dploy('deploy', 'production')
      const seen = await users.stop()
      assert.equal(result.state, 'succeeded', result.failure?.message)
      const { verdict, traffic } = result.receipt as unknown as Measured
      assert.equal(verdict.kind, 'worse', verdict.sentence)
      assert.ok(traffic.users.new.failed > 0 && traffic.users.new.failed <= seen.failed.length)
    })

    test('where both releases fail alike nothing is rolled back, and nobody says that no user noticed', async () => {
      await configure('on')
      await world.commit({ 'version.txt': 'same fails=0.2\n' }, 'As bad as before')
      await using users = startUsers({ url: world.url, rate: 200 })
      const { result } = await world.dploy('deploy', 'production')
      await users.stop()
      assert.equal(result.state, 'succeeded', result.failure?.message)
      const { verdict, traffic } = result.receipt as unknown as Measured
      assert.equal(
        verdict.kind,
        'usual',
        `${verdict.sentence}: ${JSON.stringify(traffic.balancer)} ${JSON.stringify({ ...traffic.users, timeline: null })}`,
      )
    })

    test('a good release is called unnoticed, with what was looked at', async () => {
      await configure('off')
      await world.commit({ 'version.txt': 'good\n' }, 'Good')
      assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
      await configure('on')
      await world.commit({ 'version.txt': 'better\n' }, 'Better')
      await using users = startUsers({ url: world.url, rate: 200 })
      const { result } = await world.dploy('deploy', 'production')
      const seen = await users.stop()
      seen.noRequestFailed()
      const { verdict, traffic } = result.receipt as unknown as Measured
      assert.match(verdict.sentence, /^No user noticed: [\d,]+ requests at the balancer, [\d,]+ by the probe$/)
      const { old, new: fresh, switching } = traffic.users
      const counted = old.requests + fresh.requests + switching.requests
      assert.ok(
        Math.abs(counted - traffic.balancer.requests) <= traffic.balancer.requests * 0.05,
        `${counted} by server, ${traffic.balancer.requests} in all`,
      )
    })
  },
)
