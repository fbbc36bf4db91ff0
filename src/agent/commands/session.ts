import { DployError } from '../../protocol/errors.ts'
import type { TerminalSize } from '../../protocol/command-messages.ts'

/** What a caller sends to something that runs here. */
export interface SessionMessage {
  session: string
  sequence: number
  credit: number
  size?: TerminalSize | undefined
  end: boolean
  interrupt: boolean
}

/** Something that runs for a caller who reads its output at their own pace and may put something in. */
export class Session implements Disposable {
  readonly #close: () => void
  #credit: number
  #waiting: (() => void)[] = []
  #last = 0
  /** What comes in; resolves when there is room for more. */
  onInput: (bytes: Uint8Array) => Promise<void> = async () => {}
  onEnd: () => void = () => {}
  onResize: (size: TerminalSize) => void = () => {}
  onInterrupt: () => void = () => {}

  constructor(window: number, close: () => void) {
    this.#credit = window
    this.#close = close
  }

  /** Resolves when so many bytes may be sent. More than the whole window goes once the window is empty, so that it goes at all. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    while (this.#credit <= 0) {
      signal.throwIfAborted()
      await new Promise<void>((resolve) => {
        const done = () => {
          signal.removeEventListener('abort', done)
          resolve()
        }
        signal.addEventListener('abort', done, { once: true })
        this.#waiting.push(done)
      })
    }
    this.#credit -= bytes
  }

  /** Throws `command.refused` for a message that came before, or out of order. */
  async receive(message: SessionMessage, body: Uint8Array): Promise<void> {
    if (message.sequence !== this.#last + 1)
      throw new DployError(
        'command.refused',
        `The command is refused: message ${message.sequence} of its session comes after ${this.#last}`,
      )
    this.#last = message.sequence
    this.#credit += message.credit
    if (this.#credit > 0) for (const resume of this.#waiting.splice(0)) resume()
    if (message.size) this.onResize(message.size)
    if (message.interrupt) this.onInterrupt()
    const taken = body.length > 0 ? this.onInput(body) : null
    if (message.end) this.onEnd()
    await taken
  }

  [Symbol.dispose](): void {
    this.#close()
  }
}

/** The sessions that are open, by their name. */
export class Sessions {
  readonly #open = new Map<string, Session>()

  /** Throws `command.refused` if one of this name is open: a name is used once. */
  open(name: string, window: number): Session {
    if (this.#open.has(name))
      throw new DployError('command.refused', 'The command is refused: its session is open already')
    const session = new Session(window, () => this.#open.delete(name))
    this.#open.set(name, session)
    return session
  }

  /** A message for a session that has ended meanwhile is nothing to complain of. */
  async receive(message: SessionMessage, body: Uint8Array): Promise<void> {
    await this.#open.get(message.session)?.receive(message, body)
  }
}
