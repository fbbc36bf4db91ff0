import { FailureEvidence, type Interval } from './failures.ts'
import { mannWhitney, quantile, tailTest } from './latency.ts'
import { Reservoir } from './reservoir.ts'

export type Outcome = 'pass' | 'fail' | 'inconclusive'

export interface Judgement {
  outcome: Outcome
  /** For people: what was seen and why that is enough, or is not. */
  reason: string
  evidence: {
    failures: number
    newRequests: number
    oldRequests: number
    newFailed: number
    oldFailed: number
    newP95: number | null
    oldP95: number | null
  }
}

/**
 * The chance that a release that is not worse is stopped for its failures, over a whole deployment; and for its answer
 * times, at each of the looks at them.
 */
const failuresAlpha = 0.01
const latencyAlpha = 0.008
/** Answer times are looked at so often: each look gets its share of the chance (Bonferroni). */
const latencyLooks = 2
/** Slower by less than this is let through, however sure it is: users do not notice, and large samples show everything. */
const noticeable = 1.2
const noticeableMs = 2
/** So many times of each are kept to compare; of more, each has the same chance to be among them. */
const mostTimes = 20_000
/** So many requests to the new release make a pass: docs/canary.md says what would have been found with them. */
export const enoughRequests = 2_000
export const enoughTimes = 150

/** What new and old servers answered over the same time, judged as it comes in. */
export class Judge {
  readonly #evidence = new FailureEvidence()
  readonly #times = { new: new Reservoir(mostTimes), old: new Reservoir(mostTimes) }
  readonly #total: Interval = { newRequests: 0, newFailed: 0, oldRequests: 0, oldFailed: 0 }
  #looks = 0
  #slow: string | null = null

  /** Adds what came within one interval: counts, and answer times in milliseconds where they are known. */
  add(interval: Interval, times: { new: readonly number[]; old: readonly number[] } = { new: [], old: [] }): void {
    this.#evidence.add(interval)
    for (const key of Object.keys(this.#total) as (keyof Interval)[]) this.#total[key] += interval[key]
    for (const time of times.new) this.#times.new.add(time)
    for (const time of times.old) this.#times.old.add(time)
  }

  /** What can be said now. `fail` as soon as failures say so; answer times are looked at in the middle and at the end, not every time. */
  now(progress: 'under way' | 'half' | 'end'): Judgement {
    const { newRequests, newFailed, oldRequests, oldFailed } = this.#total
    if (progress !== 'under way' && this.#looks < latencyLooks) {
      this.#looks++
      this.#slow ??= slower(this.#times.new.values, this.#times.old.values, latencyAlpha / latencyLooks)
    }
    const failures = this.#evidence.value
    const times = { new: this.#times.new.values, old: this.#times.old.values }
    const evidence = {
      failures,
      newRequests,
      oldRequests,
      newFailed,
      oldFailed,
      newP95: times.new.length > 0 ? quantile(times.new, 0.95) : null,
      oldP95: times.old.length > 0 ? quantile(times.old, 0.95) : null,
    }
    if (failures >= 1 / failuresAlpha) {
      return {
        outcome: 'fail',
        reason: `${shareOf(newFailed, newRequests)} of the new release's requests failed, ${shareOf(oldFailed, oldRequests)} of the old one's: by chance so at most once in ${Math.round(failures)} deployments`,
        evidence,
      }
    }
    if (this.#slow !== null) return { outcome: 'fail', reason: this.#slow, evidence }
    const seen = `${newRequests} requests to the new release (${newFailed} failed) and ${oldRequests} to the old one (${oldFailed} failed)`
    if (newRequests < enoughRequests || oldRequests < enoughRequests)
      return {
        outcome: 'inconclusive',
        reason: `${seen}: too few to judge by; ${enoughRequests} each are needed`,
        evidence,
      }
    const compared =
      times.new.length >= enoughTimes && times.old.length >= enoughTimes
        ? `; 1 in 20 answers takes more than ${format(evidence.newP95!)}, of the old one's ${format(evidence.oldP95!)}`
        : ''
    return { outcome: 'pass', reason: `${seen}${compared}: no difference that speaks against it`, evidence }
  }
}

/** Also by so much that it is no rounding: logs tell whole milliseconds. */
function isNoticeable(fresh: number, old: number): boolean {
  return fresh >= old * noticeable && fresh - old >= noticeableMs
}

/** Why the new release counts as slower; null if it does not. */
function slower(fresh: readonly number[], old: readonly number[], alpha: number): string | null {
  if (fresh.length < enoughTimes || old.length < enoughTimes) return null
  // Two questions, half of the chance each.
  const whole = mannWhitney(fresh, old)
  const tail = tailTest(fresh, old, 0.95)
  const [newMedian, oldMedian, newP95, oldP95] = [
    quantile(fresh, 0.5),
    quantile(old, 0.5),
    quantile(fresh, 0.95),
    quantile(old, 0.95),
  ]
  if (whole.p < alpha / 2 && isNoticeable(newMedian, oldMedian))
    return `The new release is slower: half of its answers take ${format(newMedian)}, of the old one's ${format(oldMedian)}`
  if (tail.p < alpha / 2 && isNoticeable(newP95, oldP95))
    return `The new release is slower: 1 in 20 of its answers takes more than ${format(newP95)}, of the old one's ${format(oldP95)}`
  return null
}

function shareOf(part: number, whole: number): string {
  return whole === 0 ? 'none' : `${((part / whole) * 100).toFixed(2)} %`
}

function format(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
}
