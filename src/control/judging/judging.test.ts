import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { FailureEvidence } from './failures.ts'
import { Judge } from './judge.ts'
import { mannWhitney, normalTail, quantile, tailTest } from './latency.ts'
import { seeded, simulate, type Simulation } from './simulation.ts'

const close = (actual: number, expected: number, within: number) =>
  assert.ok(Math.abs(actual - expected) <= within, `${actual} is not ${expected}`)

test('the tail of the normal distribution is that of the tables', () => {
  for (const [z, p] of [
    [0, 0.5],
    [1, 0.158655],
    [1.644854, 0.05],
    [2.326348, 0.01],
    [3.090232, 0.001],
    [-1.644854, 0.95],
    [6, 9.8659e-10],
  ] as const)
    close(normalTail(z), p, p * 1e-5)
})

test('Mann and Whitney: a worked example, ties, and nothing', () => {
  // By hand: U = 21, mean 12.5, variance 25/12 · 11, z = (21 − 12.5 − 0.5) / 4.7871 = 1.6711.
  const { u, probability, p } = mannWhitney([12, 15, 18, 21, 25], [8, 10, 13, 14, 16])
  assert.equal(u, 21)
  assert.equal(probability, 0.84)
  close(p, 0.04735, 0.00005)
  assert.deepEqual(mannWhitney([1, 1, 1], [1, 1, 1]), { u: 4.5, probability: 0.5, p: 1 })
  assert.deepEqual(mannWhitney([], [1]), { u: 0, probability: 0.5, p: 1 })
  // Half of each wins, with ties: nobody is larger.
  close(mannWhitney([1, 2, 2, 3], [1, 2, 2, 3]).probability, 0.5, 0)
})

test('a slow tail is seen where the ranks hardly differ', () => {
  const random = seeded(1)
  const usual = Array.from({ length: 400 }, random)
  const tailed = usual.map((time, index) => (index % 10 === 0 ? time + 5 : time))
  assert.ok(mannWhitney(tailed, usual).p > 0.001)
  assert.ok(tailTest(tailed, usual, 0.95).p < 1e-6)
  assert.equal(tailTest(usual, usual, 0.95).p, 1)
  assert.equal(tailTest([], usual, 0.95).p, 1)
})

test('a quantile is a value of the list: the nearest rank', () => {
  assert.equal(quantile([5, 1, 4, 2, 3], 0.5), 3)
  assert.equal(quantile([5, 1, 4, 2, 3], 0.95), 5)
  assert.equal(quantile([7], 0), 7)
  assert.equal(quantile([], 0.5), 0)
})

test('evidence begins at one, falls while both fail alike, and says nothing where only one was asked', () => {
  const evidence = new FailureEvidence()
  assert.equal(evidence.value, 1)
  evidence.add({ newRequests: 100, newFailed: 3, oldRequests: 0, oldFailed: 0 })
  evidence.add({ newRequests: 0, newFailed: 0, oldRequests: 100, oldFailed: 3 })
  close(evidence.value, 1, 1e-12)
  for (let look = 0; look < 20; look++)
    evidence.add({ newRequests: 1_000, newFailed: 5, oldRequests: 1_000, oldFailed: 5 })
  assert.ok(evidence.value < 1)
})

test('both failing more at the same time, whatever outage that is, is not held against the new release', () => {
  const judge = new Judge()
  for (const failing of [0, 0, 400, 400, 0])
    judge.add({ newRequests: 500, newFailed: failing, oldRequests: 1_500, oldFailed: failing * 3 })
  const { outcome } = judge.now('end')
  assert.equal(outcome, 'pass')
})

test('a release that fails every request is stopped within a dozen failures', () => {
  const judge = new Judge()
  let asked = 0
  do (judge.add({ newRequests: 1, newFailed: 1, oldRequests: 3, oldFailed: 0 }), asked++)
  while (judge.now('under way').outcome !== 'fail' && asked < 100)
  assert.ok(asked <= 12, `after ${asked} requests`)
})

test('without enough requests nothing is decided, and it is said how many are needed', () => {
  const judge = new Judge()
  judge.add({ newRequests: 100, newFailed: 0, oldRequests: 300, oldFailed: 0 })
  const { outcome, reason } = judge.now('end')
  assert.equal(outcome, 'inconclusive')
  assert.match(reason, /100 requests to the new release.*too few/)
})

test('a difference that nobody notices is let through, however sure it is', () => {
  const random = seeded(3)
  const judge = new Judge()
  const times = (factor: number) => Array.from({ length: 20_000 }, () => (10 + random()) * factor)
  judge.add(
    { newRequests: 20_000, newFailed: 0, oldRequests: 20_000, oldFailed: 0 },
    { new: times(1.1), old: times(1) },
  )
  assert.equal(judge.now('end').outcome, 'pass')
})

describe('simulated deployments, judged at thirty looks', () => {
  const base: Simulation = {
    requests: 2_000,
    oldShare: 3,
    newFails: 0.001,
    oldFails: 0.001,
    slower: 1,
    slowerFrom: 0,
    looks: 30,
    times: 500,
  }
  const runs = 400
  const stopped = (change: Partial<Simulation>, seed: number) => {
    const random = seeded(seed)
    let count = 0
    for (let run = 0; run < runs; run++) if (simulate({ ...base, ...change }, random).outcome === 'fail') count++
    return count / runs
  }

  for (const fails of [0, 0.001, 0.01]) {
    for (const oldShare of [1, 9]) {
      test(`no difference, ${fails * 100} % fail, ${oldShare} times the traffic on the old release: fewer than 2 % are stopped`, () => {
        const share = stopped({ newFails: fails, oldFails: fails, oldShare }, 11)
        assert.ok(share < 0.02, `${share * 100} %`)
      })
    }
  }

  for (const [requests, oldShare] of [
    [1_500, 3],
    [2_500, 1],
    [1_200, 9],
  ] as const) {
    test(`0.1 % to 1 % failures, ${requests} requests to the new release and ${oldShare} times as many to the old: 90 % are found`, () => {
      const share = stopped({ requests, oldShare, newFails: 0.01 }, 12)
      assert.ok(share >= 0.9, `${share * 100} %`)
    })
  }

  for (const [what, change] of [
    ['every answer', { times: 150 }],
    ['the slowest tenth alone', { times: 500, slowerFrom: 0.9 }],
  ] as const) {
    test(`answers that take half as long again, ${what}, ${change.times} times of each: 90 % are found`, () => {
      const share = stopped({ ...change, slower: 1.5 }, 13)
      assert.ok(share >= 0.9, `${share * 100} %`)
    })
  }
})
