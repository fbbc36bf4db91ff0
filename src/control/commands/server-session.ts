import { randomBytes } from 'node:crypto'
import type { AgentEvent, AgentParams, AgentResult } from '../../protocol/agent-messages.ts'
import type { TerminalSize } from '../../protocol/command-messages.ts'
import type { AgentLink } from '../gateway/agent-link.ts'

/** Credit is given back in pieces of this part of the window. */
const part = 4
/** An agent sends the piece that it has read whole, also where less may go: that of each stream. Bytes, with much to spare. */
const overrun = 1024 * 1024
/** Input that may be on its way to the server. Bytes. */
const inputWindow = 1024 * 1024

/** What runs on a server in exchange with somebody. */
export type SessionMethod = 'exec' | 'receive_file' | 'send_file'

export interface ServerSessionOptions<M extends SessionMethod> {
  link: AgentLink
  method: M
  params: Omit<AgentParams<M>, 'session' | 'window'>
  /** Bytes of output that may be on the way or waiting here. */
  window: number
  signal: AbortSignal
  /** `taken` is to be called once the bytes have gone on to their reader. */
  onOutput(event: AgentEvent<M>, bytes: Uint8Array, taken: () => void): void
}

/** Something that runs on one server, and what is said to it meanwhile. */
export class ServerSession<M extends SessionMethod = SessionMethod> {
  readonly result: Promise<AgentResult<M>>
  readonly #link: AgentLink
  readonly #place: { application: string; environment: string; epoch: 0 }
  readonly #window: number
  readonly #name = randomBytes(18).toString('base64url')
  #sequence = 0
  #owed = 0
  #sending = 0
  #onMoved: () => void = () => {}
  #failure: unknown = null
  #over = false
  #room: (() => void)[] = []

  constructor(options: ServerSessionOptions<M>) {
    const { params, link, method, signal, window } = options
    this.#link = link
    this.#window = window
    this.#place = { application: params.application, environment: params.environment, epoch: 0 }
    const whole = { ...params, session: this.#name, window } as unknown as AgentParams<M>
    let unread = 0
    const onEvent = (event: AgentEvent<M>, bytes: Uint8Array) => {
      unread += bytes.length
      // Whoever does not keep to the window would fill our memory.
      if (unread > window + overrun)
        return link.close(`its agent sent more than the ${window} bytes that may be on their way`)
      options.onOutput(event, bytes, () => {
        unread -= bytes.length
        this.#taken(bytes.length)
      })
    }
    this.result = link.command(method, whole, { ...this.#place, signal, onEvent })
    this.result.then(
      () => this.#end(),
      () => this.#end(),
    )
  }

  /** Whether something that was put in has not been taken yet. */
  get waits(): boolean {
    return this.#sending > 0
  }

  /** Whether its result is there. */
  get over(): boolean {
    return this.#over
  }

  /** Called whenever something that was put in was taken. */
  set onMoved(listener: () => void) {
    this.#onMoved = listener
  }

  /** Ends it as Ctrl-C does. */
  async interrupt(): Promise<void> {
    await this.#send({ interrupt: true })
  }

  /** Puts something in. Resolves when there is room for more, or it is over; throws if what was put in before was not taken. */
  async input(bytes: Uint8Array, end = false): Promise<void> {
    if (this.#failure !== null) throw this.#failure
    this.#sending += bytes.length
    let taken = false
    void this.#send({ end }, bytes)
      .catch((error: unknown) => (this.#failure = error))
      .finally(() => {
        taken = true
        this.#sending -= bytes.length
        this.#onMoved()
        this.#wake()
      })
    while ((end ? !taken : this.#sending > inputWindow && this.#failure === null) && !this.#over)
      await new Promise<void>((resolve) => this.#room.push(resolve))
  }

  async resize(size: TerminalSize): Promise<void> {
    await this.#send({ size })
  }

  #end(): void {
    this.#over = true
    this.#wake()
  }

  #wake(): void {
    for (const resume of this.#room.splice(0)) resume()
  }

  #taken(bytes: number): void {
    this.#owed += bytes
    if (this.#owed < this.#window / part) return
    const credit = this.#owed
    this.#owed = 0
    void this.#send({ credit }).catch(() => {})
  }

  async #send(
    message: { credit?: number; size?: TerminalSize; end?: boolean; interrupt?: boolean },
    body?: Uint8Array,
  ): Promise<void> {
    if (!this.#link.open) return
    const whole = {
      session: this.#name,
      sequence: ++this.#sequence,
      credit: 0,
      end: false,
      interrupt: false,
      ...message,
    }
    await this.#link.command('session', whole, { ...this.#place, body })
  }
}
