import type { Readable, Writable } from 'node:stream'
import { readBetween } from '../protocol/conversation.ts'
import { DployError } from '../protocol/errors.ts'
import type { Carrier } from '../protocol/peer.ts'
import { streamCarrier } from '../protocol/stream-carrier.ts'

/** How long after the end of a command what can wait is done, if no other command has come. Milliseconds. */
const rest = 300
/** How long an agent waits for another conversation, should whoever is to end the streams be gone without a trace. Milliseconds. */
const patience = 15 * 60_000

/** The conversations of one agent over the same streams, one after the other (`src/protocol/conversation.ts`). */
export class Conversations {
  readonly #whole: Carrier
  readonly #waiting: Conversation[]
  #last: Conversation
  #ended: string | null = null
  readonly #wakes = new Set<() => void>()

  constructor(incoming: Readable, outgoing: Writable) {
    this.#whole = streamCarrier(incoming, outgoing)
    this.#last = new Conversation(this.#whole, null)
    this.#waiting = [this.#last]
    this.#whole.onClose = (reason) => this.#end(reason)
    this.#whole.onFrame = (head, body) => this.#take(head, body)
  }

  /** The next conversation, once it is begun; null when the streams have ended, or nothing came for long. */
  async next(): Promise<Carrier | null> {
    await this.#another(patience)
    // Of several that were begun meanwhile only the last has somebody at its other end.
    const conversation = this.#waiting.splice(0).at(-1)
    if (conversation === undefined || this.#ended !== null) return null
    await conversation.begin()
    return conversation
  }

  /** Resolves a moment after the command, whose last seconds are not to be disturbed, or when nobody is there any more. False, at once: another command waits. */
  async quiet(): Promise<boolean> {
    await this.#another(rest)
    return this.#waiting.length === 0
  }

  /** Ends the streams. */
  close(reason: string): void {
    this.#whole.close(reason)
  }

  #take(head: unknown, body: Uint8Array): void {
    const between = readBetween(head)
    if (between === null) return this.#last.take(head, body)
    this.#last.end('the command is over')
    if (between.kind !== 'next') return
    this.#last = new Conversation(this.#whole, between.id)
    this.#waiting.push(this.#last)
    this.#wakeAll()
  }

  #end(reason: string): void {
    this.#ended = reason
    this.#last.end(reason)
    this.#wakeAll()
  }

  /** Resolves when another conversation waits, the streams have ended, or so many milliseconds are over. */
  async #another(milliseconds: number): Promise<void> {
    if (this.#waiting.length > 0 || this.#ended !== null) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds)
      this.#wakes.add(() => (clearTimeout(timer), resolve()))
    })
  }

  #wakeAll(): void {
    for (const wake of this.#wakes) wake()
    this.#wakes.clear()
  }
}

/** Carries the frames of one conversation. */
class Conversation implements Carrier {
  readonly #whole: Carrier
  readonly #id: string | null
  readonly #early: { head: unknown; body: Uint8Array }[] = []
  #onFrame: Carrier['onFrame'] | null = null
  #ended: string | null = null
  onClose: Carrier['onClose'] = () => {}

  /** `id`: by what its beginning is told; null for the first, which begins with the streams. */
  constructor(whole: Carrier, id: string | null) {
    this.#whole = whole
    this.#id = id
  }

  get onFrame(): Carrier['onFrame'] {
    return this.#onFrame ?? (() => {})
  }

  set onFrame(listener: Carrier['onFrame']) {
    this.#onFrame = listener
    for (const { head, body } of this.#early.splice(0)) listener(head, body)
    // Who was late to listen is told of the end too.
    if (this.#ended !== null) queueMicrotask(() => this.onClose(this.#ended!))
  }

  async begin(): Promise<void> {
    if (this.#id !== null) await this.#whole.send({ kind: 'ready', id: this.#id })
  }

  take(head: unknown, body: Uint8Array): void {
    if (this.#ended !== null) return
    if (this.#onFrame) this.#onFrame(head, body)
    else this.#early.push({ head, body })
  }

  async send(head: unknown, body?: Uint8Array): Promise<void> {
    if (this.#ended !== null) throw new DployError('connection.closed', `The connection ended: ${this.#ended}`)
    return this.#whole.send(head, body)
  }

  /** An agent that gives one up ends the streams: what is wrong with one is wrong with them. */
  close(reason: string): void {
    this.#whole.close(reason)
  }

  pause(): () => void {
    return this.#whole.pause()
  }

  end(reason: string): void {
    if (this.#ended !== null) return
    this.#ended = reason
    this.onClose(reason)
  }
}
