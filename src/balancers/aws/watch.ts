import { DployError } from '../../protocol/errors.ts'
import { isThrottling } from './failure.ts'
import type { Pool, SeenTarget } from './pool.ts'

/** Between two looks while somebody waits: soon after a change, and at most. Milliseconds. */
const soon = 200
const late = 2_500
const slower = 1.4
/** How much slower at most while AWS throttles. */
const patient = 8
/** Looks in a row that may fail for want of an answer before those who wait are told. */
const failures = 5

interface Waiter {
  since: number
  done: (seen: readonly SeenTarget[]) => boolean
  settle: (seen: readonly SeenTarget[] | null, error?: unknown) => void
}

/**
 * Looks at a pool while somebody waits for something in it: one call for all who wait. It becomes slower the longer
 * nothing new is waited for, with jitter, so that many environments do not ask at once, and much slower when throttled.
 */
export class PoolWatch {
  readonly #pool: Pool
  readonly #closed: AbortSignal
  readonly #waiters = new Set<Waiter>()
  #pace = soon
  #throttled = 1
  #running = false
  #wake: (() => void) | null = null

  constructor(pool: Pool, closed: AbortSignal) {
    this.#pool = pool
    this.#closed = closed
    closed.addEventListener('abort', () => this.#fail(closed.reason), { once: true })
  }

  /**
   * Resolves when `done` says so of what AWS shows, looked at after this call; with `came` false when the time is up,
   * `seen` being what was seen last. Rejects with the signal's reason, or with what AWS refuses.
   */
  wait(
    done: Waiter['done'],
    options: { timeout: number; signal: AbortSignal },
  ): Promise<{ came: boolean; seen: readonly SeenTarget[] | null }> {
    const { signal } = options
    return new Promise((resolve, reject) => {
      let seen: readonly SeenTarget[] | null = null
      const end = () => {
        this.#waiters.delete(waiter)
        clearTimeout(timer)
        signal.removeEventListener('abort', abort)
      }
      const abort = () => {
        end()
        reject(signal.reason)
      }
      const waiter: Waiter = {
        since: performance.now(),
        done: (all) => {
          seen = all
          return done(all)
        },
        settle: (all, error) => {
          end()
          if (all) resolve({ came: true, seen: all })
          else reject(error)
        },
      }
      const timer = setTimeout(() => {
        end()
        resolve({ came: false, seen })
      }, options.timeout)
      if (signal.aborted) return abort()
      signal.addEventListener('abort', abort, { once: true })
      this.#waiters.add(waiter)
      this.#pace = soon
      this.#wake?.()
      if (!this.#running) void this.#run()
    })
  }

  /** AWS throttles: looks come at a slower pace from now on. */
  slowDown(): void {
    this.#throttled = Math.min(patient, this.#throttled * 2)
  }

  async #run(): Promise<void> {
    this.#running = true
    let failed = 0
    while (this.#waiters.size > 0 && !this.#closed.aborted) {
      await this.#pause()
      if (this.#waiters.size === 0) break
      const began = performance.now()
      try {
        const seen = await this.#pool.look(this.#closed)
        failed = 0
        this.#throttled = Math.max(1, this.#throttled / 1.5)
        for (const waiter of [...this.#waiters]) if (waiter.since <= began && waiter.done(seen)) waiter.settle(seen)
      } catch (error) {
        if (error instanceof DployError && error.code === 'balancer.unreachable') failed++
        else if (!(error instanceof DployError) || !isThrottling(error.cause)) failed = failures
        if (failed >= failures) this.#fail(error)
      }
      this.#pace = Math.min(late, this.#pace * slower)
    }
    this.#running = false
  }

  #fail(error: unknown): void {
    for (const waiter of [...this.#waiters]) waiter.settle(null, error)
  }

  /** A new waiter ends a long pause: it waits for something that is likely to come soon. */
  async #pause(): Promise<void> {
    const pause = (resolve: () => void) =>
      setTimeout(resolve, this.#pace * this.#throttled * (0.75 + Math.random() * 0.5)).unref()
    await new Promise<void>((resolve) => {
      const timer = pause(resolve)
      this.#wake = () => {
        clearTimeout(timer)
        pause(resolve)
      }
    })
    this.#wake = null
  }
}
