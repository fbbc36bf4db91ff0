import type { Logger } from 'pino'

/** So many of a kind, for the same reason, are told each minute; of the rest only how many there were. */
const told = 50
/** Milliseconds. */
const minute = 60_000

/** Says in the log what was refused, and to whom. Whoever tries it a million times fills no disk with it. */
export class Refusals implements Disposable {
  readonly #log: Logger
  readonly #counts = new Map<string, number>()
  readonly #timer: NodeJS.Timeout

  constructor(log: Logger) {
    this.#log = log
    this.#timer = setInterval(() => this.#sumUp(), minute)
    this.#timer.unref()
  }

  /** `what` is a fixed text; they are counted by it and the code of the error. */
  note(what: string, fields: Record<string, unknown> & { code?: string | undefined }): void {
    const kind = JSON.stringify([what, fields.code])
    const count = (this.#counts.get(kind) ?? 0) + 1
    this.#counts.set(kind, count)
    if (count <= told) this.#log.warn(fields, what)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.#sumUp()
  }

  #sumUp(): void {
    for (const [kind, count] of this.#counts) {
      const [what, code] = JSON.parse(kind) as [string, string | null]
      if (count > told)
        this.#log.warn({ ...(code !== null && { code }), times: count - told }, `${what}: more of them within a minute`)
    }
    this.#counts.clear()
  }
}
