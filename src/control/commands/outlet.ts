/**
 * Joins what several producers put in into one sequence for one reader. `taken` is called when the reader comes for the
 * next: then this one is really gone.
 */
export class Outlet<T> {
  readonly #queue: { value: T; taken: (() => void) | undefined }[] = []
  #wake: () => void = () => {}
  #ended = false

  put(value: T, taken?: () => void): void {
    this.#queue.push({ value, taken })
    this.#wake()
  }

  /** After what is in it, the sequence ends. */
  end(): void {
    this.#ended = true
    this.#wake()
  }

  /** Ends early when the signal aborts, with whatever is in it. */
  async *read(signal: AbortSignal): AsyncGenerator<T> {
    const abort = () => this.#wake()
    signal.addEventListener('abort', abort)
    try {
      while (!signal.aborted) {
        const next = this.#queue.shift()
        if (next) {
          yield next.value
          next.taken?.()
        } else if (this.#ended) return
        else await new Promise<void>((resolve) => (this.#wake = resolve))
      }
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }
}
