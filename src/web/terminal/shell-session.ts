import type { Client } from '../../client/client.ts'
import { Typist } from '../../client/typist.ts'
import type { CommandOutcome } from '../../protocol/api/commands.ts'
import type { TerminalSize } from '../../protocol/command-messages.ts'
import { reportOf, type ErrorReport } from '../../protocol/errors.ts'

/** Where the shell on the server stands. `lost`: nobody can say; the control plane ends it when it sees that the page is gone. */
export type ShellState =
  | { kind: 'opening' }
  | { kind: 'open' }
  | { kind: 'ended'; outcome: CommandOutcome }
  | { kind: 'lost' }
  | { kind: 'failed'; problem: ErrorReport }

export interface ShellOptions {
  client: Client
  place: { application: string; environment: string; server: string }
  /** As root. */
  sudo: boolean
  size: TerminalSize
  /** Shows what came; resolves when that is drawn. */
  show(data: string | Uint8Array): Promise<void>
  onState(state: ShellState): void
}

/** What may wait to be drawn before no more is read. Characters. */
const unseen = 256 * 1024

/** A shell on a server, from here until it ends, is ended, or the connection is lost. */
export class ShellSession {
  readonly #options: ShellOptions
  readonly #stop = new AbortController()
  #typist: Typist | null = null

  constructor(options: ShellOptions) {
    this.#options = options
    void this.#run()
  }

  type(bytes: Uint8Array): void {
    this.#typist?.type(bytes)
  }

  resize(size: TerminalSize): void {
    this.#options.size = size
    this.#typist?.resize(size)
  }

  /** Ends it on the server too, with what runs in it; nothing is told any more. */
  end(): void {
    this.#stop.abort(new Error('ended here'))
  }

  async #run(): Promise<void> {
    const { client, place, sudo, size, show } = this.#options
    this.#tell({ kind: 'opening' })
    let outcome: CommandOutcome | null = null
    let waiting = 0
    let drawn: Promise<void> = Promise.resolve()
    try {
      for await (const event of client.stream(
        'shell',
        { params: place, body: { ...size, kind: 'xterm-256color', sudo } },
        { signal: this.#stop.signal },
      )) {
        if (event.kind === 'started') this.#begin(event.run, size)
        if (event.kind === 'ended') outcome = event.outcome
        if (event.kind !== 'output') continue
        const data =
          'text' in event ? event.text : Uint8Array.from(atob(event.base64), (character) => character.charCodeAt(0))
        waiting += data.length
        drawn = show(data).then(() => void (waiting -= data.length))
        // Read no faster than it is drawn: then the program on the server waits, and no memory grows.
        if (waiting > unseen) await drawn
      }
      await drawn
      this.#tell(
        outcome === null
          ? { kind: 'lost' }
          : outcome.problem
            ? { kind: 'failed', problem: outcome.problem }
            : { kind: 'ended', outcome },
      )
    } catch (error) {
      this.#tell(stateAfter(error))
    }
    this.#stop.abort(new Error('over'))
  }

  #begin(run: string, size: TerminalSize): void {
    this.#typist = new Typist(this.#options.client, run, (error) => {
      if (stateAfter(error).kind !== 'lost') return
      this.#tell({ kind: 'lost' })
      this.end()
    })
    this.#tell({ kind: 'open' })
    // It may have become another while the shell was opened.
    if (this.#options.size !== size) this.#typist.resize(this.#options.size)
  }

  #tell(state: ShellState): void {
    if (!this.#stop.signal.aborted) this.#options.onState(state)
  }
}

/** What an error of the stream or of what was typed means for the shell. */
export function stateAfter(error: unknown): ShellState {
  const problem = reportOf(error)
  return problem.code === 'connection.closed' ? { kind: 'lost' } : { kind: 'failed', problem }
}
