import { DployError, reportOf } from '../../../protocol/errors.ts'
import type { EnvironmentServer } from '../../store/applications.ts'

/** The servers that failed after the commit point, held against how many the strategy allows. */
export class Failures {
  readonly #limit: number
  readonly #servers = new Map<string, unknown>()
  readonly #tooMany = new AbortController()

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Aborts, with `deployment.too_many_failures` or the only failure's own error, once more failed than allowed. */
  get signal(): AbortSignal {
    return this.#tooMany.signal
  }

  get names(): string[] {
    return [...this.#servers.keys()]
  }

  /** Ends the deployment for what is no single server's failure. */
  stop(error: DployError): void {
    if (!this.#tooMany.signal.aborted) this.#tooMany.abort(error)
  }

  has(server: string): boolean {
    return this.#servers.has(server)
  }

  add(server: EnvironmentServer, error: unknown): void {
    if (this.#servers.has(server.name)) return
    this.#servers.set(server.name, error)
    if (this.#servers.size <= this.#limit || this.#tooMany.signal.aborted) return
    this.#tooMany.abort(this.#servers.size === 1 ? DployError.from(reportOf(error, server.name)) : this.#summary())
  }

  #summary(): DployError {
    const names = [...this.#servers.keys()]
    const first = reportOf(this.#servers.get(names[0]!), names[0])
    return new DployError(
      'deployment.too_many_failures',
      `${names.length} servers failed (${this.#limit} allowed): ${names.join(', ')}. On ${names[0]}: ${first.message}`,
      { where: names.join(', '), fix: first.fix },
    )
  }
}
