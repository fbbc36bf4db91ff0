import { randomBytes } from 'node:crypto'
import type { AgentParams, AgentResult } from '../../protocol/agent-messages.ts'
import type { TerminalSize } from '../../protocol/command-messages.ts'
import type { AgentLink } from '../gateway/agent-link.ts'

/** Credit is given back in pieces of this part of the window. */
const part = 4

export interface ServerSessionOptions {
  link: AgentLink
  /** Without session and window. */
  params: Omit<AgentParams<'exec'>, 'session' | 'window'>
  /** Bytes of output that may be on the way or waiting here. */
  window: number
  signal: AbortSignal
  /** `taken` is to be called once the bytes have gone on to their reader. */
  onOutput(stream: 'stdout' | 'stderr', bytes: Uint8Array, taken: () => void): void
}

/** A command that runs on one server, and what is said to it meanwhile. */
export class ServerSession {
  readonly result: Promise<AgentResult<'exec'>>
  readonly #options: ServerSessionOptions
  readonly #name = randomBytes(18).toString('base64url')
  #sequence = 0
  #owed = 0

  constructor(options: ServerSessionOptions) {
    this.#options = options
    const { params, link, signal } = options
    this.result = link.command(
      'exec',
      { ...params, session: this.#name, window: options.window },
      { application: params.application, environment: params.environment, epoch: 0, signal, onEvent: ({ stream }, bytes) => options.onOutput(stream, bytes, () => this.#taken(bytes.length)) },
    )
    this.result.catch(() => {})
  }

  /** Ends it as Ctrl-C does. */
  async interrupt(): Promise<void> {
    await this.#send({ interrupt: true })
  }

  /** Puts something in. Resolves when there is room for more. */
  async input(bytes: Uint8Array, end = false): Promise<void> {
    await this.#send({ end }, bytes)
  }

  async resize(size: TerminalSize): Promise<void> {
    await this.#send({ size })
  }

  #taken(bytes: number): void {
    this.#owed += bytes
    if (this.#owed < this.#options.window / part) return
    const credit = this.#owed
    this.#owed = 0
    void this.#send({ credit }).catch(() => {})
  }

  async #send(message: { credit?: number; size?: TerminalSize; end?: boolean; interrupt?: boolean }, body?: Uint8Array): Promise<void> {
    const { link, params } = this.#options
    if (!link.open) return
    const whole = { session: this.#name, sequence: ++this.#sequence, credit: 0, end: false, interrupt: false, ...message }
    await link.command('session', whole, { application: params.application, environment: params.environment, epoch: 0, body })
  }
}
