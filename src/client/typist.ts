import type { TerminalSize } from '../protocol/command-messages.ts'
import type { Client } from './client.ts'

/** What one message brings at most. Bytes. */
const most = 64 * 1024

/** Sends what is typed into a terminal, in order: what comes while one message is on its way goes with the next. */
export class Typist {
  readonly #client: Pick<Client, 'call'>
  readonly #run: string
  readonly #onFailure: (error: unknown) => void
  #typed: Uint8Array[] = []
  #size: TerminalSize | undefined
  #sending = false

  /** `onFailure`: what was typed did not arrive. That the shell has ended is told by the stream of what it shows too. */
  constructor(client: Pick<Client, 'call'>, run: string, onFailure: (error: unknown) => void = () => {}) {
    this.#client = client
    this.#run = run
    this.#onFailure = onFailure
  }

  type(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#typed.push(bytes)
    void this.#send()
  }

  resize(size: TerminalSize): void {
    this.#size = size
    void this.#send()
  }

  async #send(): Promise<void> {
    if (this.#sending) return
    this.#sending = true
    try {
      while (this.#typed.length > 0 || this.#size) {
        const all = joined(this.#typed)
        const bytes = all.subarray(0, most)
        this.#typed = all.length > bytes.length ? [all.subarray(bytes.length)] : []
        const size = this.#size
        this.#size = undefined
        await this.#client.call('runInput', {
          params: { run: this.#run },
          body: { base64: base64Of(bytes), ...(size && { size }) },
        })
      }
    } catch (error) {
      this.#onFailure(error)
    } finally {
      this.#sending = false
    }
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

/** As browsers do it too: a call takes only so many arguments. */
function base64Of(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += 8_192) text += String.fromCharCode(...bytes.subarray(at, at + 8_192))
  return btoa(text)
}
