/** Work that several wait for, each with a signal of their own. It is aborted only when nobody waits for it any more. */
export class SharedWork<T> {
  readonly #abort = new AbortController()
  readonly #result: Promise<T>
  #waiting = 0
  #over = false

  /** Begins at once. */
  constructor(work: (signal: AbortSignal) => Promise<T>) {
    this.#result = work(this.#abort.signal).finally(() => (this.#over = true))
    this.#result.catch(() => {})
  }

  /** Nobody waits for it any more: who comes now has to begin anew. */
  get abandoned(): boolean {
    return this.#abort.signal.aborted
  }

  /** Resolves when the work has ended, however it did. */
  get ended(): Promise<void> {
    return this.#result.then(
      () => {},
      () => {},
    )
  }

  /** The result. Rejects with the reason of `signal` when that aborts; for the last who waits, when the work has ended too. */
  async join(signal: AbortSignal): Promise<T> {
    signal.throwIfAborted()
    const { promise, reject } = Promise.withResolvers<never>()
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    this.#waiting++
    try {
      return await Promise.race([this.#result, promise])
    } finally {
      signal.removeEventListener('abort', abort)
      if (--this.#waiting === 0 && !this.#over) {
        this.#abort.abort(signal.reason)
        await this.ended
      }
    }
  }
}
