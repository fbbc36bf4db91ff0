import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Balancer, ServerCounters } from '../../balancers/contract.ts'
import { UserTraffic } from './user-traffic.ts'

/** A balancer whose counters a test sets. */
function counting(): { balancer: Balancer; counters: Map<string, ServerCounters> } {
  const counters = new Map([
    ['web1', { requests: 1_000, failed: 2 }],
    ['web2', { requests: 1_000, failed: 3 }],
  ])
  const serverCounters = async () => new Map([...counters].map(([name, counted]) => [name, { ...counted }]))
  return { balancer: { serverCounters } as unknown as Balancer, counters }
}

test('requests belong to the release that their server runs in that moment', async () => {
  const { balancer, counters } = counting()
  const began = Date.now()
  const users = UserTraffic.start(balancer, ['web1', 'web2'], () => began)!
  // The first look tells what was before.
  await users.serves('web1', 'old')
  counters.set('web1', { requests: 1_010, failed: 2 })
  counters.set('web2', { requests: 1_010, failed: 4 })
  await users.serves('web1', 'switching')
  await users.serves('web1', 'new')
  counters.set('web1', { requests: 1_020, failed: 2 })
  counters.set('web2', { requests: 1_015, failed: 4 })
  const counted = (await users.finish())!
  assert.deepEqual(counted.before, { requests: 2_000, failed: 5 })
  assert.deepEqual(counted.old, { requests: 25, failed: 1 })
  assert.deepEqual(counted.new, { requests: 10, failed: 0 })
  assert.deepEqual(counted.switching, { requests: 0, failed: 0 })
  assert.equal(
    counted.timeline.points.reduce((sum, point) => sum + point.new, 0),
    10,
  )
})

test('a balancer that was started again counts from zero', async () => {
  const { balancer, counters } = counting()
  const users = UserTraffic.start(balancer, ['web1', 'web2'], Date.now)!
  await users.serves('web1', 'old')
  counters.set('web1', { requests: 7, failed: 1 })
  const counted = (await users.finish())!
  assert.deepEqual(counted.old, { requests: 7, failed: 1 })
})

test('it is told once that the new release is worse', async () => {
  const { balancer, counters } = counting()
  const users = UserTraffic.start(balancer, ['web1', 'web2'], Date.now)!
  const told: string[] = []
  users.onWorse = (reason) => told.push(reason)
  await users.serves('web1', 'new')
  for (let look = 1; look <= 5; look++) {
    counters.set('web1', { requests: 1_000 + look * 40, failed: 2 + look * 10 })
    counters.set('web2', { requests: 1_000 + look * 40, failed: 3 })
    await users.serves('web1', 'new')
  }
  const counted = (await users.finish())!
  assert.equal(told.length, 1)
  assert.match(
    told[0]!,
    /^25\.0 % of the new release's answers were errors, 0\.0 % of the old one's: \d+ of \d+ requests$/,
  )
  assert.notEqual(counted.worse, null)
})

test('where a balancer does not count by server there is nothing to count', () => {
  assert.equal(UserTraffic.start({} as Balancer, ['web1'], Date.now), null)
})
