import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

export interface UsersOptions {
  /** Only loopback, and the addresses of a fleet of one's own. */
  url: string
  /** Requests a second. */
  rate?: number
  /** They stop by themselves after so long. */
  seconds?: number
  /** Their POSTs carry an Idempotency-Key: a balancer may repeat them when a server ends in the middle of one. */
  idempotent?: boolean
}

export interface Answer {
  /** Milliseconds since the users began. */
  at: number
  ms: number
  /** Null: no whole answer came; `text` says why. */
  status: number | null
  text: string
  post: boolean
}

/** What users saw, read as sentences in tests. */
export class Seen {
  readonly answers: readonly Answer[]
  readonly #rate: number

  /** `rate` is what was meant to be asked. Requests a second. */
  constructor(answers: readonly Answer[], rate: number) {
    this.answers = answers
    this.#rate = rate
  }

  get failed(): Answer[] {
    return this.answers.filter(({ status }) => status === null || status >= 400)
  }

  /** Answers that took 250 ms more than the median. */
  get stalled(): Answer[] {
    const times = this.answers.map(({ ms }) => ms).sort((a, b) => a - b)
    const usual = times[Math.floor(times.length / 2)] ?? 0
    return this.answers.filter(({ ms }) => ms > usual + 250)
  }

  /** Milliseconds within which this share of the answers came. */
  quantile(share: number): number {
    const times = this.answers.map(({ ms }) => ms).sort((a, b) => a - b)
    return times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0
  }

  /** A deployment may be over in less than a second: what was asked is held against the time that it took. */
  noRequestFailed(): void {
    const seconds = Math.max(0, ...this.answers.map(({ at, ms }) => at + ms)) / 1000
    assert.ok(
      this.answers.length >= Math.max(20, (this.#rate * seconds) / 2),
      `only ${this.answers.length} requests were sent in ${seconds.toFixed(1)} s`,
    )
    assert.deepEqual(this.failed.slice(0, 5), [], `${this.failed.length} of ${this.answers.length} requests failed`)
  }

  /** No request failed, and none stalled: people notice those too. */
  nobodyNoticed(): void {
    this.noRequestFailed()
    assert.deepEqual(this.stalled.slice(0, 5), [], `${this.stalled.length} of ${this.answers.length} requests stalled`)
  }
}

/** Users who ask all the time, half of them on kept connections, one in five by POST; in a thread of their own. */
export function startUsers(options: UsersOptions): AsyncDisposable & { stop(): Promise<Seen> } {
  const { hostname } = new URL(options.url)
  if (hostname !== 'localhost' && !hostname.startsWith('127.') && !hostname.startsWith('10.'))
    throw new Error(`No traffic is sent to ${hostname}`)
  const rate = options.rate ?? 100
  const worker = new Worker(new URL('./users-worker.ts', import.meta.url), {
    workerData: { seconds: 120, idempotent: false, ...options, rate },
  })
  const answers = once(worker, 'message').then(([seen]) => new Seen(seen as Answer[], rate))
  answers.catch(() => {})
  return {
    async stop() {
      worker.postMessage('stop')
      return answers
    },
    async [Symbol.asyncDispose]() {
      await worker.terminate()
    },
  }
}
