import type { ChildProcess } from 'node:child_process'

/** From the start of ssh, with its login, until the first line of ours. Milliseconds; a person may have to touch a key meanwhile. */
const longestSilence = 60_000
/** What a server's profile may print before. Bytes. */
const mostNoise = 1024 * 1024

/** Ends an ssh whose server says nothing, or whatever else without end: else a command would wait for it for ever. */
export class Greeting implements Disposable {
  readonly #child: ChildProcess
  readonly #timer: NodeJS.Timeout
  #noise = 0
  /** Why it was ended; null if it was not. */
  problem: string | null = null

  constructor(child: ChildProcess, silence = longestSilence) {
    this.#child = child
    this.#timer = setTimeout(
      () =>
        this.#end(
          `says nothing for ${silence / 1000} s: its login does not end, or something in its shell's profile waits`,
        ),
      silence,
    )
  }

  /** A line came, of ours or of something else; null: one that has no end. */
  take(line: string | null, ours: boolean): void {
    if (ours) return clearTimeout(this.#timer)
    this.#noise += line === null ? Infinity : line.length + 1
    if (this.#noise > mostNoise) this.#end("prints without end: look what its shell's profile does")
  }

  #end(problem: string): void {
    this.problem ??= problem
    this.#child.kill()
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
  }
}
