import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seeded } from './simulation.ts'
import { filled, NoAnswer, valueOf } from './prometheus.ts'
import { CountedQuery, together, ValuedQuery, wrongWith, type Query } from './queries.ts'

const pair = (fresh: number | null, old: number | null) => ({ new: fresh, old })
const value = (changes: Partial<Query>): Query => ({ name: 'p95', value: 'x', worse: 'higher', ...changes })

test('names and hosts of servers become regular expressions in brackets, in which nothing of theirs means anything else', () => {
  const servers = [
    { name: 'web.1', address: 'deploy@10.0.0.11:2222' },
    { name: 'web-2', address: null },
    { name: 'web3', address: '[fd00::3]:22' },
  ]
  assert.equal(
    filled('up{instance=~"{servers}:9100"} + y{i=~"{addresses}"} / z{i=~"{servers}"}', servers),
    'up{instance=~"(?:web\\\\.1|web\\\\-2|web3):9100"} + y{i=~"(?:10\\\\.0\\\\.0\\\\.11|web\\\\-2|fd00\\\\:\\\\:3)"} / z{i=~"(?:web\\\\.1|web\\\\-2|web3)"}',
  )
})

test('an answer is one number, or none, or an error that says why', () => {
  const vector = (...values: string[]) =>
    JSON.stringify({
      status: 'success',
      data: { resultType: 'vector', result: values.map((one) => ({ metric: {}, value: [1_700_000_000, one] })) },
    })
  assert.equal(valueOf(vector('0.25')), 0.25)
  assert.equal(valueOf('{"status":"success","data":{"resultType":"scalar","result":[1700000000,"7"]}}'), 7)
  for (const none of [vector(), vector('NaN'), vector('+Inf')]) assert.equal(valueOf(none), null)
  assert.throws(
    () => valueOf(vector('1', '2')),
    (error) => error instanceof NoAnswer && /2 series.*sum/.test(error.message),
  )
  assert.throws(
    () => valueOf('{"status":"error","errorType":"bad_data","error":"parse error: unexpected end of input"}'),
    /parse error/,
  )
  assert.throws(
    () => valueOf('{"status":"success","data":{"resultType":"matrix","result":[]}}'),
    /not that of an instant query/,
  )
  assert.throws(() => valueOf('{"status'), /cut off/)
})

test('counters are judged by what they grow, and one that begins anew is left out', () => {
  const query = new CountedQuery('errors', 0.01)
  query.add(pair(900, 9_000), pair(9, 90))
  query.add(pair(100, 12_000), pair(null, 120))
  assert.deepEqual(query.judge(), {
    outcome: 'inconclusive',
    reason:
      'errors: 0 requests to the new release (0 failed) and 0 to the old one (0 failed): too few to judge by; 2000 each are needed',
  })
  query.add(pair(2_600, 20_000), pair(2, 128))
  assert.deepEqual(query.judge(), {
    outcome: 'pass',
    reason: 'errors: 2500 requests to the new release (2 failed) and 8000 to the old one (8 failed)',
  })
  query.add(pair(null, null), pair(null, null))
  query.add(pair(3_000, 21_000), pair(80, 130))
  query.add(pair(3_400, 22_000), pair(160, 131))
  assert.deepEqual(query.judge(), {
    outcome: 'fail',
    reason: "errors: 2.83 % of the new release's requests failed, 0.10 % of the old one's",
  })
})

test('with no difference counters stop fewer than 1 of 100 deployments, at a hundred looks', () => {
  const random = seeded(7)
  const binomial = (count: number, share: number) =>
    Array.from({ length: count }, random).filter((one) => one < share).length
  let stopped = 0
  for (let run = 0; run < 300; run++) {
    const query = new CountedQuery('errors', 0.01)
    const total = { new: 0, old: 0, newFailed: 0, oldFailed: 0 }
    for (let look = 0; look < 40; look++) {
      query.add(pair(total.new, total.old), pair(total.newFailed, total.oldFailed))
      if (query.judge().outcome === 'fail') {
        stopped++
        break
      }
      total.new += 50
      total.old += 150
      total.newFailed += binomial(50, 0.02)
      total.oldFailed += binomial(150, 0.02)
    }
  }
  assert.ok(stopped <= 4, `${stopped} of 300`)
})

test("a value speaks against the new release beyond a limit, or where it is worse than the old one's by more than a share", () => {
  assert.equal(wrongWith(value({ at_most: 0.5 }), pair(0.6, null)), '0.6 is more than 0.5')
  assert.equal(wrongWith(value({ at_least: 0.9 }), pair(0.85, 0.8)), '0.85 is less than 0.9')
  assert.equal(
    wrongWith(value({ worse_by: 0.2 }), pair(0.61, 0.5)),
    "0.61 is worse than the old release's 0.5 by more than 20 %",
  )
  assert.equal(wrongWith(value({ worse_by: 0.2 }), pair(0.6, 0.5)), null)
  assert.equal(
    wrongWith(value({ worse_by: 0.2, worse: 'lower' }), pair(0.3, 0.5)),
    "0.3 is worse than the old release's 0.5 by more than 20 %",
  )
  assert.equal(wrongWith(value({ worse_by: 0.2 }), pair(9, null)), null)
})

test('a value has failed once it was beyond its limit so many times in a row, and has passed once there was data so many times', () => {
  const query = new ValuedQuery(value({ at_most: 1 }), 3)
  for (const one of [2, 2, 0.5, 2, null, 2]) query.add(pair(one, null))
  assert.equal(query.judge().outcome, 'pass')
  query.add(pair(2, null))
  assert.deepEqual(query.judge(), { outcome: 'fail', reason: 'p95: 2 is more than 1, 3 times in a row' })
  query.add(pair(0, null))
  assert.equal(query.judge().outcome, 'fail')
  const silent = new ValuedQuery(value({ worse_by: 0.1 }), 2)
  silent.add(pair(1, null))
  silent.add(pair(1, 1))
  assert.deepEqual(silent.judge(), {
    outcome: 'inconclusive',
    reason: 'p95: looked at 1 times with data, and 2 are needed',
  })
})

test('balancer and queries together: either stops it, and it passes where nothing is missing and one of them counted enough', () => {
  const says = (
    balancer: 'pass' | 'fail' | 'inconclusive',
    queries: 'pass' | 'fail' | 'inconclusive' | null,
    counts = false,
  ) => together({ outcome: balancer, reason: 'B' }, queries === null ? null : { outcome: queries, reason: 'Q', counts })
  for (const outcome of ['pass', 'fail', 'inconclusive'] as const)
    assert.deepEqual(says(outcome, null), { outcome, reason: 'B' })
  assert.deepEqual(says('fail', 'pass'), { outcome: 'fail', reason: 'B' })
  assert.deepEqual(says('pass', 'fail'), { outcome: 'fail', reason: 'Q' })
  assert.deepEqual(says('pass', 'inconclusive'), { outcome: 'inconclusive', reason: 'Q' })
  assert.deepEqual(says('inconclusive', 'inconclusive'), { outcome: 'inconclusive', reason: 'B; Q' })
  assert.deepEqual(says('pass', 'pass'), { outcome: 'pass', reason: 'B; Q' })
  assert.deepEqual(says('inconclusive', 'pass', true), { outcome: 'pass', reason: 'Q' })
  assert.deepEqual(says('inconclusive', 'pass'), { outcome: 'inconclusive', reason: 'B' })
})
