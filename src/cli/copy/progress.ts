import { formatBytes } from '../../protocol/bytes.ts'
import { fit } from '../../protocol/terminal.ts'
import type { Output } from '../output.ts'

/** Between two changes of the line. Milliseconds. */
const every = 100

/** How far a copy is, as one line of a terminal that changes; nothing where there is none. */
export class Progress implements Disposable {
  readonly #output: Output
  #title = ''
  #total = 0
  #done = 0
  #shown = 0

  constructor(output: Output) {
    this.#output = output
  }

  /** So many more bytes are to come. */
  begin(bytes: number, title: string): void {
    this.#total += bytes
    this.#title = title
  }

  add(bytes: number): void {
    this.#done += bytes
    if (this.#output.mode !== 'live' || performance.now() - this.#shown < every) return
    this.#shown = performance.now()
    const percent = this.#total === 0 ? 100 : Math.min(100, Math.floor((this.#done / this.#total) * 100))
    process.stderr.write(
      `\r\u001B[K${fit(`${this.#title}  ${percent} %  ${formatBytes(this.#done)} of ${formatBytes(this.#total)}`, this.#output.width() - 1)}`,
    )
  }

  end(): void {
    if (this.#shown > 0) process.stderr.write('\r\u001B[K')
    this.#shown = 0
  }

  [Symbol.dispose](): void {
    this.end()
  }
}
