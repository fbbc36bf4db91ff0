import { FailureEvidence } from './failures.ts'
import { enoughRequests } from './judge.ts'

/** A query of dploy.yml: counters of requests and failures, or a value that is held against a limit or the old release's. */
export interface Query {
  name: string
  requests?: string | undefined
  failures?: string | undefined
  value?: string | undefined
  at_most?: number | undefined
  at_least?: number | undefined
  /** Parts of the old release's value, 0.2 for a fifth. */
  worse_by?: number | undefined
  worse: 'higher' | 'lower'
}

/** What one look brought; null: no data. */
export type Pair = { new: number | null; old: number | null }

export interface QueryJudgement {
  outcome: 'pass' | 'fail' | 'inconclusive'
  reason: string
}

/** Counters of requests and failures, judged as the balancer's are. `chance`: that a good release is stopped by it. */
export class CountedQuery {
  readonly #name: string
  readonly #chance: number
  readonly #evidence = new FailureEvidence()
  #before: { requests: Pair; failures: Pair } | null = null
  #total = { newRequests: 0, newFailed: 0, oldRequests: 0, oldFailed: 0 }

  constructor(name: string, chance: number) {
    this.#name = name
    this.#chance = chance
  }

  /** Adds what the counters say now. Where one began anew, as those of a process that was started, the interval is left out. */
  add(requests: Pair, failures: Pair): void {
    // Nothing has failed yet: then there is no series of failures.
    const now = {
      requests,
      failures: {
        new: failures.new ?? (requests.new === null ? null : 0),
        old: failures.old ?? (requests.old === null ? null : 0),
      },
    }
    const before = this.#before
    this.#before = now
    if (before === null) return
    const grown = [
      difference(before.requests.new, requests.new),
      difference(before.failures.new, now.failures.new),
      difference(before.requests.old, requests.old),
      difference(before.failures.old, now.failures.old),
    ]
    if (grown.some((value) => value === null)) return
    const [newRequests, newFailed, oldRequests, oldFailed] = grown as [number, number, number, number]
    const interval = {
      newRequests,
      newFailed: Math.min(newFailed, newRequests),
      oldRequests,
      oldFailed: Math.min(oldFailed, oldRequests),
    }
    this.#evidence.add(interval)
    for (const key of Object.keys(interval) as (keyof typeof interval)[]) this.#total[key] += interval[key]
  }

  judge(): QueryJudgement {
    const { newRequests, newFailed, oldRequests, oldFailed } = this.#total
    const share = (part: number, whole: number) => (whole === 0 ? 'none' : `${((part / whole) * 100).toFixed(2)} %`)
    const seen = `${this.#name}: ${Math.round(newRequests)} requests to the new release (${Math.round(newFailed)} failed) and ${Math.round(oldRequests)} to the old one (${Math.round(oldFailed)} failed)`
    if (this.#evidence.value >= 1 / this.#chance)
      return {
        outcome: 'fail',
        reason: `${this.#name}: ${share(newFailed, newRequests)} of the new release's requests failed, ${share(oldFailed, oldRequests)} of the old one's`,
      }
    if (newRequests < enoughRequests || oldRequests < enoughRequests)
      return { outcome: 'inconclusive', reason: `${seen}: too few to judge by; ${enoughRequests} each are needed` }
    return { outcome: 'pass', reason: seen }
  }
}

/** A value that is held against limits. Fails once it was over them so many times in a row. */
export class ValuedQuery {
  readonly #query: Query
  readonly #times: number
  #bad = 0
  #looks = 0
  #last: Pair = { new: null, old: null }
  #failed: string | null = null

  constructor(query: Query, times: number) {
    this.#query = query
    this.#times = times
  }

  add(now: Pair): void {
    if (now.new === null || (this.#query.worse_by !== undefined && now.old === null)) return
    this.#looks++
    this.#last = now
    const why = wrongWith(this.#query, now)
    this.#bad = why === null ? 0 : this.#bad + 1
    if (this.#bad >= this.#times) this.#failed ??= `${this.#query.name}: ${why}, ${this.#bad} times in a row`
  }

  judge(): QueryJudgement {
    if (this.#failed !== null) return { outcome: 'fail', reason: this.#failed }
    const { name } = this.#query
    if (this.#looks < this.#times)
      return {
        outcome: 'inconclusive',
        reason: `${name}: looked at ${this.#looks} times with data, and ${this.#times} are needed`,
      }
    return {
      outcome: 'pass',
      reason: `${name}: ${figure(this.#last.new!)}${this.#last.old === null ? '' : `, of the old release ${figure(this.#last.old)}`}`,
    }
  }
}

/** What speaks against the new release's value; null: nothing. */
export function wrongWith({ at_most, at_least, worse_by, worse }: Query, { new: fresh, old }: Pair): string | null {
  if (fresh === null) return null
  if (at_most !== undefined && fresh > at_most) return `${figure(fresh)} is more than ${figure(at_most)}`
  if (at_least !== undefined && fresh < at_least) return `${figure(fresh)} is less than ${figure(at_least)}`
  if (worse_by === undefined || old === null) return null
  const limit = worse === 'higher' ? old + Math.abs(old) * worse_by : old - Math.abs(old) * worse_by
  const over = worse === 'higher' ? fresh > limit : fresh < limit
  return over
    ? `${figure(fresh)} is worse than the old release's ${figure(old)} by more than ${Math.round(worse_by * 100)} %`
    : null
}

/**
 * What balancer and queries say together (`counts`: a query saw enough requests to pass by): either may stop it. It passes where
 * no query is missing and one of the two counted enough.
 */
export function together(
  balancer: QueryJudgement,
  queries: (QueryJudgement & { counts: boolean }) | null,
): QueryJudgement {
  if (queries === null || balancer.outcome === 'fail') return { outcome: balancer.outcome, reason: balancer.reason }
  const { outcome, reason, counts } = queries
  if (outcome === 'fail' || (outcome === 'inconclusive' && balancer.outcome === 'pass')) return { outcome, reason }
  if (outcome === 'inconclusive') return { outcome, reason: `${balancer.reason}; ${reason}` }
  if (balancer.outcome === 'pass') return { outcome, reason: `${balancer.reason}; ${reason}` }
  return counts ? { outcome, reason } : balancer
}

function difference(before: number | null, now: number | null): number | null {
  return before === null || now === null || now < before ? null : now - before
}

function figure(value: number): string {
  return String(Number(value.toPrecision(4)))
}
