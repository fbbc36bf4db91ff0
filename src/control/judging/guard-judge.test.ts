import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GuardJudge } from './guard-judge.ts'
import { highestShare } from './usual.ts'

/** A generator of its own, so that a failure can be run again (mulberry32). */
function chance(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

interface Traffic {
  /** Requests in a quarter of a second, of all servers. */
  perLook: number
  oldShare: number
  newShare: number
  /** Parts of the traffic that go to the new release, one batch after the other; each for so many looks. */
  batches: readonly number[]
  looks: number
  before: { requests: number; failed: number }
}

/** Plays a deployment; how many requests of the new release it took until it was called worse, or null. */
function play(traffic: Traffic, seed: number): number | null {
  const random = chance(seed)
  const judge = new GuardJudge(traffic.before)
  const failed = (requests: number, share: number) =>
    Array.from({ length: requests }, random).filter((one) => one < share).length
  let seen = 0
  for (const part of traffic.batches) {
    for (let look = 0; look < traffic.looks; look++) {
      const whole = Math.floor(traffic.perLook) + (random() < traffic.perLook % 1 ? 1 : 0)
      const fresh = Array.from({ length: whole }, random).filter((one) => one < part).length
      seen += fresh
      judge.add({
        fresh: { requests: fresh, failed: failed(fresh, traffic.newShare) },
        old: { requests: whole - fresh, failed: failed(whole - fresh, traffic.oldShare) },
      })
      if (judge.worse !== null) return seen
    }
  }
  return null
}

const rolling = {
  perLook: 50,
  oldShare: 0,
  newShare: 0.05,
  batches: [0.25, 0.5, 0.75, 1],
  looks: 8,
  before: { requests: 2_000, failed: 0 },
}
const seeds = Array.from({ length: 20 }, (_, index) => index + 1)

test('a release with 5 % errors is found with at most 400 requests, 20 times of 20', () => {
  const found = seeds.map((seed) => play(rolling, seed))
  assert.ok(
    found.every((requests) => requests !== null && requests <= 400),
    found.join(', '),
  )
})

test('it is found where all servers switch at once, by the time before', () => {
  const found = seeds.map((seed) => play({ ...rolling, batches: [0, 1], looks: 40 }, seed))
  assert.ok(
    found.every((requests) => requests !== null && requests <= 400),
    found.join(', '),
  )
})

test('an application that always answers 1 % with errors is never rolled back, 200 times', () => {
  const steady = { ...rolling, oldShare: 0.01, newShare: 0.01, looks: 20, before: { requests: 50_000, failed: 500 } }
  const wrong = Array.from({ length: 200 }, (_, index) => play(steady, index + 1)).filter((one) => one !== null)
  assert.deepEqual(wrong, [])
  const atOnce = Array.from({ length: 200 }, (_, index) => play({ ...steady, batches: [0, 1] }, index + 1))
  assert.deepEqual(
    atOnce.filter((one) => one !== null),
    [],
  )
})

test('nor one with six requests a minute, 200 times', () => {
  const quiet = {
    ...rolling,
    perLook: 6 / 240,
    oldShare: 0.05,
    newShare: 0.05,
    looks: 240,
    before: { requests: 40, failed: 2 },
  }
  const wrong = Array.from({ length: 200 }, (_, index) => play(quiet, index + 1)).filter((one) => one !== null)
  assert.deepEqual(wrong, [])
})

test('a database that fails for both releases at the same moment blames none', () => {
  const judge = new GuardJudge({ requests: 10_000, failed: 0 })
  for (let look = 0; look < 40; look++)
    judge.add({ fresh: { requests: 20, failed: 10 }, old: { requests: 20, failed: 10 } })
  assert.equal(judge.worse, null)
})

test('more errors than ever before are not blamed on a release, if the one before it had as many just now', () => {
  const judge = new GuardJudge({ requests: 1_000_000, failed: 0 })
  for (let look = 0; look < 40; look++)
    judge.add({ fresh: { requests: 0, failed: 0 }, old: { requests: 20, failed: 4 } })
  for (let look = 0; look < 400; look++)
    judge.add({ fresh: { requests: 20, failed: 4 }, old: { requests: 0, failed: 0 } })
  assert.equal(judge.worse, null)
})

test('with too little before, nothing is concluded of a release that is alone', () => {
  const judge = new GuardJudge({ requests: 1_000_000, failed: 0 })
  judge.add({ fresh: { requests: 0, failed: 0 }, old: { requests: 90, failed: 0 } })
  for (let look = 0; look < 40; look++)
    judge.add({ fresh: { requests: 20, failed: 5 }, old: { requests: 0, failed: 0 } })
  assert.equal(judge.worse, null)
})

test('the highest share that can be believed in lies above what was seen, and comes closer with more', () => {
  assert.equal(highestShare({ requests: 0, failed: 0 }, 0.001), 1)
  // Exactly 1 − α^(1/n) where nothing failed.
  assert.ok(Math.abs(highestShare({ requests: 1_000, failed: 0 }, 0.001) - (1 - 0.001 ** (1 / 1_000))) < 1e-9)
  const few = highestShare({ requests: 1_000, failed: 10 }, 0.001)
  const many = highestShare({ requests: 100_000, failed: 1_000 }, 0.001)
  assert.ok(0.01 < many && many < few && few < 0.03, `${many} ${few}`)
})
