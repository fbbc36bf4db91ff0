import { setTimeout as delay } from 'node:timers/promises'
import type { Balancer, ServerCounters } from '../../balancers/contract.ts'
import type { UserTraffic as Counts } from '../../protocol/receipt.ts'
import { GuardJudge } from '../judging/guard-judge.ts'

/** Between two looks at the balancer's counters. Milliseconds. */
const lookEvery = 250
/** How long the balancer has to answer. Milliseconds. */
const lookTimeout = 2_000
/** So many points are kept for the time axis; twice as long apart when there are more. */
const mostPoints = 600

/** What a server runs, for whoever counts its requests: the release before, the one that is deployed, or neither for sure. */
export type Serving = 'old' | 'new' | 'switching'

type Point = Counts['timeline']['points'][number]

/**
 * Reads the balancer's counters by server while a deployment runs, and tells the requests of the new release from those of
 * the old one by what each server runs in that moment. What cannot be read is left out; it stands in no deployment's way.
 */
export class UserTraffic implements AsyncDisposable {
  readonly #balancer: Balancer
  readonly #servers: readonly string[]
  readonly #startedAt: () => number
  readonly #stop = new AbortController()
  readonly #serving = new Map<string, Serving>()
  readonly #counts = { old: nothing(), new: nothing(), switching: nothing(), before: nothing() }
  #judge: GuardJudge | null = null
  #worse: string | null = null
  #last: Map<string, ServerCounters> | null = null
  #points = new Map<number, Point>()
  #every = lookEvery
  #looking: Promise<void> | null = null
  #onWorse: ((reason: string) => void) | null = null
  readonly #running: Promise<void>

  private constructor(balancer: Balancer, servers: readonly string[], startedAt: () => number) {
    this.#balancer = balancer
    this.#servers = servers
    this.#startedAt = startedAt
    this.#running = this.#run()
  }

  /** Null where the balancer does not count by server. `startedAt`: epoch milliseconds from which the points are reckoned. */
  static start(balancer: Balancer, servers: readonly string[], startedAt: () => number): UserTraffic | null {
    return balancer.serverCounters === undefined ? null : new UserTraffic(balancer, servers, startedAt)
  }

  /** Told once, when the new release counts as worse than the old one; at once, where it does already. */
  set onWorse(tell: ((reason: string) => void) | null) {
    this.#onWorse = tell
    if (this.#worse !== null) tell?.(this.#worse)
  }

  /** A server begins or ends its switch: what was counted until now was answered by what it ran until now. */
  async serves(server: string, serving: Serving): Promise<void> {
    // A look that began before may have read its counters already.
    await this.#looking
    await this.#look()
    this.#serving.set(server, serving)
  }

  /** What was counted; null: nothing could be read. */
  async finish(): Promise<Counts | null> {
    await this[Symbol.asyncDispose]()
    await this.#look()
    if (this.#last === null) return null
    return {
      ...this.#counts,
      worse: this.#worse,
      timeline: { every: this.#every, points: [...this.#points.values()].sort((a, b) => a.at - b.at) },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await this.#look()
      await delay(lookEvery, undefined, { signal }).catch(() => {})
    }
  }

  #look(): Promise<void> {
    this.#looking ??= this.#read().finally(() => (this.#looking = null))
    return this.#looking
  }

  async #read(): Promise<void> {
    const now = await this.#balancer.serverCounters!(this.#servers, AbortSignal.timeout(lookTimeout)).catch(() => null)
    if (now === null) return
    const before = this.#last
    this.#last = now
    if (before === null) {
      for (const counted of now.values()) grow(this.#counts.before, counted)
      this.#judge = new GuardJudge(this.#counts.before)
      return
    }
    const came = { old: nothing(), new: nothing(), switching: nothing() }
    for (const [server, counted] of now) {
      const former = before.get(server)
      // A balancer that was started again counts from zero: all that it says came since.
      const base = former === undefined || counted.requests < former.requests ? nothing() : former
      const requests = counted.requests - base.requests
      const failed = Math.min(Math.max(0, counted.failed - base.failed), Math.max(requests, 0))
      grow(came[this.#serving.get(server) ?? 'old'], { requests, failed })
    }
    for (const key of ['old', 'new', 'switching'] as const) grow(this.#counts[key], came[key])
    this.#addPoint(came)
    this.#judge!.add({ fresh: came.new, old: came.old })
    if (this.#worse !== null) return
    this.#worse = this.#judge!.worse
    if (this.#worse !== null) this.#onWorse?.(this.#worse)
  }

  #addPoint(came: Record<Serving, { requests: number; failed: number }>): void {
    const elapsed = Date.now() - this.#startedAt()
    if (elapsed < 0) return
    const at = Math.floor(elapsed / this.#every) * this.#every
    const point = this.#points.get(at) ?? { at, old: 0, oldFailed: 0, new: 0, newFailed: 0 }
    point.old += came.old.requests + came.switching.requests
    point.oldFailed += came.old.failed + came.switching.failed
    point.new += came.new.requests
    point.newFailed += came.new.failed
    this.#points.set(at, point)
    if (this.#points.size <= mostPoints) return
    this.#every *= 2
    const merged = new Map<number, Point>()
    for (const one of this.#points.values()) {
      const place = Math.floor(one.at / this.#every) * this.#every
      const sum = merged.get(place) ?? { at: place, old: 0, oldFailed: 0, new: 0, newFailed: 0 }
      for (const key of ['old', 'oldFailed', 'new', 'newFailed'] as const) sum[key] += one[key]
      merged.set(place, sum)
    }
    this.#points = merged
  }
}

function nothing(): { requests: number; failed: number } {
  return { requests: 0, failed: 0 }
}

function grow(total: { requests: number; failed: number }, more: { requests: number; failed: number }): void {
  total.requests += more.requests
  total.failed += more.failed
}
