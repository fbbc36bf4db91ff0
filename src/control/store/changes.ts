import type { ChangeKind } from '../../protocol/api/changes.ts'

/** That something of a kind is another than before: in an environment, or (null) in none in particular. */
export interface Change {
  kind: ChangeKind
  environment: string | null
}

/** After the first of a burst, the others are told together. Milliseconds. */
const gather = 50

/**
 * What has changed since when, of what kind and where: not what it is now, which is asked for. Kept in memory, and no longer
 * than its newest: what counts is stored elsewhere. Cursors grow from one control plane to the next, so that to who comes with one of the
 * process before everything has changed.
 */
export class Changes {
  readonly #begin = Date.now() * 1_000
  #last = this.#begin
  readonly #newest = new Map<string, Change & { seq: number }>()
  readonly #readers = new Set<() => void>()

  get cursor(): number {
    return this.#last
  }

  note(kind: ChangeKind, environment: string | null): void {
    this.#newest.set(`${kind} ${environment ?? ''}`, { kind, environment, seq: ++this.#last })
    for (const wake of [...this.#readers]) wake()
  }

  /** What has changed after a cursor; null: nobody knows, so everything may have. */
  since(cursor: number): Change[] | null {
    if (cursor < this.#begin || cursor > this.#last) return null
    return [...this.#newest.values()]
      .filter(({ seq }) => seq > cursor)
      .map(({ kind, environment }) => ({ kind, environment }))
  }

  /** The newest change of these kinds in an environment. */
  newestIn(environment: string, kinds: readonly ChangeKind[]): number {
    return Math.max(this.#begin, ...kinds.map((kind) => this.#newest.get(`${kind} ${environment}`)?.seq ?? 0))
  }

  /** What changes after a cursor, together where it comes in bursts; nothing when nothing did for `silence` milliseconds. */
  async *follow(
    cursor: number,
    silence: number,
    signal: AbortSignal,
  ): AsyncGenerator<{ cursor: number; changes: Change[] | null }> {
    for (let from = cursor; !signal.aborted;) {
      const known = from >= this.#begin && from <= this.#last
      if (known && this.#last === from) await this.#news(silence, signal)
      const changes = this.since(from)
      from = this.#last
      yield { cursor: from, changes }
      if (changes === null || changes.length > 0) await pause(gather, signal)
    }
  }

  #news(silence: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        this.#readers.delete(done)
        resolve()
      }
      const timer = setTimeout(done, silence)
      this.#readers.add(done)
      signal.addEventListener('abort', done, { once: true })
    })
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })
}
