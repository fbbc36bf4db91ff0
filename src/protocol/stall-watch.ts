/** How long a transfer may stand still until it is ended. Milliseconds. */
export const stalledAfter = 30_000

export interface StallOptions {
  /** Milliseconds. */
  limit: number
  /** Called once, when nothing has moved for so long. */
  onStall: () => void
  /** Whether something is awaited now; by default always. */
  waits?: () => boolean
}

/**
 * Notices that something does not move any more. It counts only time in which this process runs: one that was stopped at
 * the terminal, or a laptop that slept, goes on afterwards where it was.
 */
export class StallWatch implements Disposable {
  #still = 0
  readonly #timer: NodeJS.Timeout

  constructor({ limit, onStall, waits = () => true }: StallOptions) {
    const ticks = 30
    this.#timer = setInterval(() => {
      if (!waits()) this.#still = 0
      else if (++this.#still >= ticks) {
        clearInterval(this.#timer)
        onStall()
      }
    }, limit / ticks)
  }

  /** Something moved. */
  moved(): void {
    this.#still = 0
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}
