import { cutText } from '../protocol/cut-text.ts'
import type { LogLine } from './services/contract.ts'

/** More of one line is cut off: a frame has room for no more than some, and nobody reads it. Characters. */
export const longestLine = 64 * 1024
/** What may wait for a slow connection; what comes then is left out, and the reader is told. Characters. */
const mostWaiting = 8 * 1024 * 1024

/** Lines of a log on their way to who follows it, in bounded memory however fast the application writes. */
export class LogOutbox {
  readonly #emit: (line: LogLine) => Promise<void>
  #waiting = 0
  #leftOut = 0

  constructor(emit: (line: LogLine) => Promise<void>) {
    this.#emit = emit
  }

  add({ at, text }: LogLine): void {
    if (this.#waiting > mostWaiting) {
      this.#leftOut++
      return
    }
    if (this.#leftOut > 0)
      this.#send({ at, text: `(dploy) ${this.#leftOut} lines were left out: they come faster than they are sent` })
    this.#leftOut = 0
    this.#send({ at, text: cutText(text, longestLine) })
  }

  #send(line: LogLine): void {
    const length = line.text.length + 100
    this.#waiting += length
    const sent = () => void (this.#waiting -= length)
    this.#emit(line).then(sent, sent)
  }
}
