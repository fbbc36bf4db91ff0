/** Between two begins of asking for the same. Milliseconds. */
const apart = 150

/**
 * Asks again for what has changed: at once, and while changes keep coming not more often than every 150 ms, nor for more than half
 * of the time. A change that comes while it is asked for is asked for after.
 */
export class Refresher {
  readonly #ask: (key: readonly unknown[]) => Promise<void>
  readonly #under = new Map<string, { again: boolean }>()

  constructor(ask: (key: readonly unknown[]) => Promise<void>) {
    this.#ask = ask
  }

  changed(key: readonly unknown[]): void {
    const name = JSON.stringify(key)
    const under = this.#under.get(name)
    if (under) under.again = true
    else void this.#work(name, key)
  }

  async #work(name: string, key: readonly unknown[]): Promise<void> {
    const state = { again: true }
    this.#under.set(name, state)
    while (state.again) {
      state.again = false
      const began = performance.now()
      await this.#ask(key).catch(() => {})
      const took = performance.now() - began
      await new Promise((resolve) => setTimeout(resolve, Math.max(took, apart - took)))
    }
    this.#under.delete(name)
  }
}
