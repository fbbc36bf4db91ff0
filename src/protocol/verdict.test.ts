import assert from 'node:assert/strict'
import { test } from 'node:test'
import { verdictOf, type Evidence } from './verdict.ts'

const counted = (requests: number, failed = 0) => ({ requests, failed })
const balancer = (requests: number, serverErrors = 0, retries = 0) => ({
  requests,
  serverErrors,
  connectionErrors: 0,
  responseErrors: 0,
  retries,
  redispatches: 0,
  restarted: false,
})
const users = (changes: Partial<NonNullable<Evidence['traffic']['users']>>) => ({
  old: counted(0),
  new: counted(0),
  switching: counted(0),
  before: counted(0),
  worse: null,
  timeline: { every: 250, points: [] },
  ...changes,
})

function of(traffic: Partial<Evidence['traffic']>, rest: Partial<Omit<Evidence, 'traffic'>> = {}) {
  return verdictOf({
    from: 1,
    cut: [],
    ...rest,
    traffic: {
      source: 'probe',
      seen: 250,
      failed: 0,
      stalled: 0,
      unserved: 0,
      balancer: null,
      users: null,
      ...traffic,
    },
  })
}

test('no user noticed is said of what was looked at', () => {
  assert.deepEqual(of({ balancer: balancer(12_431) }), {
    kind: 'unnoticed',
    sentence: 'No user noticed: 12,431 requests at the balancer, 250 by the probe',
  })
  assert.deepEqual(
    of({ source: 'balancer', balancer: balancer(12_431) }).sentence,
    'No user noticed: 12,431 requests at the balancer',
  )
  assert.deepEqual(
    of({}).sentence,
    "The probe noticed nothing: 250 requests by the probe. Users' requests were not counted",
  )
})

test('errors that the balancer counted are never called unnoticed, whatever the probe saw', () => {
  const { kind, sentence } = of({ balancer: balancer(1_020, 10) })
  assert.equal(kind, 'noticed')
  assert.equal(sentence, '10 of 1,020 requests failed at the balancer')
  assert.equal(of({ balancer: balancer(1_020, 0, 3) }).sentence, 'The balancer tried 3 requests again')
  assert.equal(
    of({ balancer: balancer(1_020) }, { cut: [{ server: 'web1', count: 3, when: 'drain' }] }).sentence,
    'Requests were cut on web1',
  )
  assert.equal(
    of({ failed: 8, stalled: 1, balancer: balancer(1_020) }).sentence,
    '8 failed and 1 stalled of 250 requests by the probe',
  )
})

test('a release that fails more often than the one before is named with both shares', () => {
  const verdict = of({
    balancer: balancer(2_040, 42),
    users: users({ old: counted(1_020), new: counted(1_020, 42), worse: 'by the judge' }),
  })
  assert.deepEqual(verdict, {
    kind: 'worse',
    sentence: "4.1 % of the new release's answers were errors (before: 0.0 %): 42 of 1,020 requests",
  })
})

test('as many errors as usual are not blamed on the release, and not called unnoticed', () => {
  const usual = users({ old: counted(900, 9), new: counted(100, 1), before: counted(50_000, 500) })
  const verdict = of({ balancer: balancer(1_000, 10), users: usual })
  assert.deepEqual(verdict, {
    kind: 'usual',
    sentence: 'No more errors than usual: 10 of 1,000 requests failed at the balancer (1.0 %; before: 1.0 %)',
  })
  // Two that no server answered: while none was in traffic.
  assert.equal(of({ balancer: balancer(1_000, 12), users: usual }).kind, 'noticed')
  assert.equal(of({ balancer: balancer(1_000, 10), users: usual, stalled: 1 }).kind, 'noticed')
})

test('what nobody measured, and what served nobody before, is called that', () => {
  assert.equal(
    of({ source: 'none', seen: 0 }).sentence,
    'Not measured: there is no probe, and the balancer reports no counters',
  )
  assert.equal(of({ source: 'none', seen: 0, unserved: 40 }, { from: null }).kind, 'first')
})
