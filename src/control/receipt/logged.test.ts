import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LoggedRequest } from '../../balancers/contract.ts'
import { LoggedTrouble, loggedOf, saidByLog } from './logged.ts'

const logged = (changes: Partial<LoggedRequest> = {}): LoggedRequest => ({
  at: 1_000,
  clientPort: 4_000,
  server: 'web2',
  method: 'GET',
  path: '/healthz',
  status: 503,
  waitMs: 0,
  connectMs: 1,
  answerMs: 3,
  totalMs: 5,
  retries: 0,
  ending: '----',
  ...changes,
})
const sample = { at: 1_001, ms: 5, status: 503, error: null, method: 'GET' as const, port: 4_000 }

test('of the log, what may be a noticed request of the probe is kept', () => {
  const trouble = new LoggedTrouble({ url: 'http://127.0.0.1/healthz', post: '/probe' })
  for (const one of [
    logged(),
    logged({ path: '/other' }),
    logged({ path: '/probe', method: 'POST', status: null }),
    logged({ status: 200 }),
    logged({ status: 200, totalMs: 2_000 }),
    logged({ status: 200, retries: 1 }),
    logged({ path: null }),
  ])
    trouble.add(one)
  assert.deepEqual(
    trouble.requests.map(({ path, status, totalMs, retries }) => [path, status, totalMs, retries]),
    [
      ['/healthz', 503, 5, 0],
      ['/probe', null, 5, 0],
      ['/healthz', 200, 2_000, 0],
      ['/healthz', 200, 5, 1],
    ],
  )
})

test('a request is found by its port, its method and its time, or not at all', () => {
  const lines = [
    logged({ at: 400, server: 'web1' }),
    logged(),
    logged({ clientPort: 4_001, server: 'web3' }),
    logged({ method: 'POST', server: 'web4' }),
  ]
  assert.equal(loggedOf(sample, lines)!.server, 'web2')
  assert.equal(loggedOf({ ...sample, at: 9_000 }, lines), null)
  assert.equal(loggedOf({ ...sample, port: 5_000 }, lines), null)
  const { port: _, ...unconnected } = sample
  assert.equal(loggedOf(unconnected, lines), null)
})

test('it says who got it, when the answer began and how it ended', () => {
  assert.equal(
    saidByLog(logged({ waitMs: 20, retries: 2 })),
    "the balancer's log: web2 got it after 2 retries, 20 ms in a queue, connected in 1 ms, the answer began after 3 ms, status 503, ended as ----",
  )
  assert.equal(
    saidByLog(logged({ server: null, connectMs: null, answerMs: null, ending: 'SC--' })),
    "the balancer's log: no server got it, status 503, ended as SC--",
  )
  assert.equal(
    saidByLog(logged({ connectMs: null, answerMs: null, status: null, ending: 'SC--' })),
    "the balancer's log: web2 got it, no connection was made, no status, ended as SC--",
  )
  assert.equal(
    saidByLog(logged({ answerMs: null, status: 502, ending: 'SH--' })),
    "the balancer's log: web2 got it, connected in 1 ms, no answer began, status 502, ended as SH--",
  )
})
