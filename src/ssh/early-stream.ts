import { Writable } from 'node:stream'

/**
 * A stream that may be written to before there is anything to write to. What came before `settle` is kept: each new
 * target gets it at once, and again if the one that it is meant for has not seen it.
 */
export class EarlyStream extends Writable {
  #target: Writable | null = null
  #kept: Buffer[] | null = []
  #held = false
  #pending: ((error?: Error | null) => void) | null = null
  readonly #finish: (target: Writable | null) => void

  /** `finish` is what happens to the target at the end; by default it ends too. */
  constructor(finish: (target: Writable | null) => void = (target) => target?.end()) {
    super()
    this.#finish = finish
  }

  /** Writes to this from now on, beginning with all that came so far. */
  attach(target: Writable): void {
    this.#target = target
    this.#held = false
    for (const chunk of this.#kept ?? []) target.write(chunk)
    // It was over before there was anything to write to.
    if (this.writableFinished) return this.#finish(target)
    const go = () => {
      if (this.#target === target) this.#goOn()
    }
    target.on('drain', go).on('close', go)
    // What waited for the target before is among what this one was given.
    this.#goOn()
  }

  /** What is written from now on is only kept until `settle`: the target is given something else meanwhile. */
  hold(): void {
    this.#held = true
  }

  /** Nothing is kept any more. `again`: what came so far was swallowed on the way, and is written once more. */
  settle(again: boolean): void {
    if (again) for (const chunk of this.#kept ?? []) this.#target?.write(chunk)
    this.#kept = null
    this.#held = false
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#kept?.push(chunk)
    if (this.#target === null || this.#held || this.#target.destroyed || this.#target.write(chunk)) done()
    else this.#pending = done
  }

  /** Takes what waits before it calls it: that may write the next chunk at once, which then waits itself. */
  #goOn(): void {
    const pending = this.#pending
    this.#pending = null
    pending?.()
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#finish(this.#target)
    done()
  }
}
