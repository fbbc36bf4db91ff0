import { reportOf } from '../../../protocol/errors.ts'
import type { Run } from '../run/run.ts'

/** Times of the new release and of the old one, in milliseconds. */
export interface Times {
  new: number[]
  old: number[]
}

/**
 * How long servers take to answer, by the balancer's log, where dploy.yml names one. A log that cannot be read is no reason
 * to stop: it is told, and there are no times.
 */
export class AnswerTimes implements AsyncDisposable {
  readonly #following: AsyncDisposable | null
  readonly #times: Times
  readonly #told: { requests: number }

  private constructor(following: AsyncDisposable | null, times: Times, told: { requests: number }) {
    this.#following = following
    this.#times = times
    this.#told = told
  }

  /** `names`: whose answers count; those of `canary` as the new release's. */
  static async start(run: Run, names: readonly string[], canary: readonly string[]): Promise<AnswerTimes> {
    const times: Times = { new: [], old: [] }
    const told = { requests: 0 }
    const [known, ahead] = [new Set(names), new Set(canary)]
    if (!run.balancer.follow) return new AnswerTimes(null, times, told)
    try {
      const following = await run.balancer.follow(({ server, answerMs }) => {
        told.requests++
        if (server === null || answerMs === null || !known.has(server)) return
        ;(ahead.has(server) ? times.new : times.old).push(answerMs)
      })
      return new AnswerTimes(following, times, told)
    } catch (error) {
      run.note(null, `${reportOf(error).message}; the canary is judged by failures alone`)
      return new AnswerTimes(null, times, told)
    }
  }

  /** Whether a log is read that has told of nothing yet. */
  get silent(): boolean {
    return this.#following !== null && this.#told.requests === 0
  }

  /** What came since it was asked last. */
  take(): Times {
    return { new: this.#times.new.splice(0), old: this.#times.old.splice(0) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#following?.[Symbol.asyncDispose]()
  }
}
