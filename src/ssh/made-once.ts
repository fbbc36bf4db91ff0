/** What is being made now, by name, and who waits for it. */
interface Making<T> {
  result: Promise<T>
  waiting: number
  end: AbortController
}

/**
 * Makes a thing once for all who ask for it at the same time. `make` is aborted when nobody waits any longer: one that gives
 * up ends nothing for the others. A failure is told to all who waited, and the next one who asks makes it anew.
 */
export class MadeOnce<T> {
  readonly #making = new Map<string, Making<T>>()

  /** Throws the signal's reason when it is aborted, else what `make` throws. */
  async of(name: string, signal: AbortSignal, make: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    const making = this.#making.get(name) ?? this.#start(name, make)
    making.waiting++
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await Promise.race([making.result, aborted])
    } finally {
      signal.removeEventListener('abort', onAbort)
      if (--making.waiting === 0) making.end.abort(signal.reason)
    }
  }

  #start(name: string, make: (signal: AbortSignal) => Promise<T>): Making<T> {
    const end = new AbortController()
    const making = { result: make(end.signal), waiting: 0, end }
    this.#making.set(name, making)
    const over = () => {
      if (this.#making.get(name) === making) this.#making.delete(name)
    }
    // Who comes after the last one gave up begins anew.
    end.signal.addEventListener('abort', over, { once: true })
    making.result.then(over, over)
    return making
  }
}
