/** How long changes are collected: a batch's servers come within moments of each other. Milliseconds. */
const collectFor = 15

/** Whose turn it is, by the program that is changed: the drivers of several environments may share one. */
const turns = new Map<string, Promise<void>>()

interface Change {
  server: string
  out: boolean
  done: PromiseWithResolvers<void>
}

/** For balancers that every change costs a reload: what is asked for at the same time is brought in at once. */
export class Changes {
  readonly #program: string
  readonly #bringIn: (changes: ReadonlyMap<string, boolean>) => Promise<void>
  #waiting: Change[] = []
  #running: Promise<void> | null = null

  /** `program` names what is changed, such as its address. `bringIn` gets servers and whether they are to be out of traffic; all succeed or all fail. */
  constructor(program: string, bringIn: (changes: ReadonlyMap<string, boolean>) => Promise<void>) {
    this.#program = program
    this.#bringIn = bringIn
  }

  /** Resolves when the change is brought in. An abort ends the waiting only: what was begun is brought to its end. */
  async apply(server: string, out: boolean, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const done = Promise.withResolvers<void>()
    this.#waiting.push({ server, out, done })
    this.#running ??= this.#run().finally(() => (this.#running = null))
    const aborted = Promise.withResolvers<never>()
    const abort = () => aborted.reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    try {
      await Promise.race([done.promise, aborted.promise])
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.#running
  }

  async #run(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, collectFor))
    while (this.#waiting.length > 0) {
      const turn = (turns.get(this.#program) ?? Promise.resolve()).then(() => this.#next())
      turns.set(this.#program, turn)
      await turn
      if (turns.get(this.#program) === turn) turns.delete(this.#program)
    }
  }

  async #next(): Promise<void> {
    const changes = this.#waiting
    this.#waiting = []
    try {
      await this.#bringIn(new Map(changes.map(({ server, out }) => [server, out])))
      for (const { done } of changes) done.resolve()
    } catch (error) {
      for (const { done } of changes) done.reject(error)
    }
  }
}
