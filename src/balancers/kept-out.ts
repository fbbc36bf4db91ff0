/** How often it is looked whether the balancer still keeps them out. Milliseconds. */
const lookEvery = 500

/** The servers that a driver keeps out of traffic, also when somebody gives the balancer its former configuration again. */
export class KeptOut implements Disposable {
  readonly #servers = new Set<string>()
  readonly #assert: (servers: ReadonlySet<string>) => Promise<void>
  #timer: NodeJS.Timeout | null = null
  #asserting = false

  /** `assert` takes those out again that are not; it is called while there are any. What it throws is tried again. */
  constructor(assert: (servers: ReadonlySet<string>) => Promise<void>) {
    this.#assert = assert
  }

  add(server: string): void {
    this.#servers.add(server)
    this.#timer ??= setInterval(() => void this.#look(), lookEvery).unref()
  }

  delete(server: string): void {
    this.#servers.delete(server)
    if (this.#servers.size === 0) this[Symbol.dispose]()
  }

  [Symbol.dispose](): void {
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
    this.#servers.clear()
  }

  async #look(): Promise<void> {
    if (this.#asserting) return
    this.#asserting = true
    await this.#assert(this.#servers).catch(() => {})
    this.#asserting = false
  }
}
