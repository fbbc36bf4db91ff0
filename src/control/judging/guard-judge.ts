import { FailureEvidence } from './failures.ts'
import { highestShare, ShareEvidence } from './usual.ts'

interface Counted {
  requests: number
  failed: number
}

/** The chance that a release that is no worse is called worse, over a whole deployment: by each of the two comparisons. */
const alpha = 0.002
/** From fewer failures of the new release nothing is concluded, however unlikely they are. */
const fewest = 5
/** A smaller share of errors than this is let through, however sure it is. */
const leastShare = 0.005
/** So many requests of the old release during the deployment tell what is usual. */
const enoughBefore = 100
/** The chance that what is usual lies above what is believed of it. */
const beforeAlpha = 0.001

/**
 * Whether users get more errors from the new release than from the old one. While servers with both answer, they are
 * compared in the same moments, so that a failing database blames none of them. When only the new one answers, it is
 * compared with the highest share of errors that the time before lets one believe in: by the old release during this
 * deployment, and by all that the balancer has counted. The first is about now, the second about much; the higher counts.
 */
export class GuardJudge {
  readonly #beside = new FailureEvidence()
  #alone: ShareEvidence | null = null
  /** Counted since the balancer started; and of the old release, until the new one was alone. */
  readonly #history: Counted
  readonly #recent: Counted = { requests: 0, failed: 0 }
  readonly #total = { new: { requests: 0, failed: 0 }, old: { requests: 0, failed: 0 } }

  constructor(before: Counted) {
    this.#history = { ...before }
  }

  /** Adds what came within one interval. */
  add({ fresh, old }: { fresh: Counted; old: Counted }): void {
    grow(this.#total.new, fresh)
    grow(this.#total.old, old)
    // What is usual must not be told by what came after the release was alone.
    if (this.#alone === null) grow(this.#recent, old)
    if (fresh.requests > 0 && old.requests > 0)
      return this.#beside.add({
        newRequests: fresh.requests,
        newFailed: Math.min(fresh.failed, fresh.requests),
        oldRequests: old.requests,
        oldFailed: Math.min(old.failed, old.requests),
      })
    if (fresh.requests === 0) return
    if (this.#alone === null) {
      if (this.#recent.requests < enoughBefore) return
      this.#alone = new ShareEvidence(
        Math.max(leastShare, highestShare(this.#recent, beforeAlpha), highestShare(this.#history, beforeAlpha)),
      )
    }
    this.#alone.add(fresh)
  }

  /** Why the new release is worse; null: nothing says so. */
  get worse(): string | null {
    const { new: fresh, old } = this.#total
    if (fresh.failed < fewest || fresh.failed < leastShare * fresh.requests) return null
    if (this.#beside.value >= 1 / alpha)
      return `${shareOf(fresh)} of the new release's answers were errors, ${shareOf(old)} of the old one's: ${fresh.failed} of ${fresh.requests} requests`
    if ((this.#alone?.value ?? 1) >= 1 / alpha)
      return `${shareOf(fresh)} of the new release's answers were errors, before it ${shareOf(this.#recent)}: ${fresh.failed} of ${fresh.requests} requests`
    return null
  }
}

function grow(total: Counted, more: Counted): void {
  total.requests += more.requests
  total.failed += more.failed
}

function shareOf({ requests, failed }: Counted): string {
  return requests === 0 ? 'none' : `${((failed / requests) * 100).toFixed(1)} %`
}
