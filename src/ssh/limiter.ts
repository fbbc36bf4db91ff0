/**
 * Lets only so many begin at a time, and not too fast: sshd drops connections that have not logged in yet beyond
 * MaxStartups (10 by default, and a jump host is one sshd for all), and brute-force protection counts new ones.
 */
export class Limiter {
  readonly #atOnce: number
  readonly #apart: number
  readonly #waiting: (() => void)[] = []
  #busy = 0
  #next = 0

  /** At most `atOnce` at a time, each beginning at least `apart` milliseconds after the one before. */
  constructor(atOnce: number, apart: number) {
    this.#atOnce = atOnce
    this.#apart = apart
  }

  /** Waits for a turn. What it answers ends the turn; calling it again does nothing. */
  async turn(signal?: AbortSignal): Promise<() => void> {
    if (this.#busy >= this.#atOnce) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#busy++
    let over = false
    const end = () => {
      if (over) return
      over = true
      const next = this.#waiting.shift()
      if (next) next()
      else this.#busy--
    }
    const now = performance.now()
    const wait = Math.max(0, this.#next - now)
    this.#next = now + wait + this.#apart
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
    if (signal?.aborted) {
      end()
      signal.throwIfAborted()
    }
    return end
  }
}
