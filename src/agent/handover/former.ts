import type { Ended } from '../../protocol/agent-messages.ts'

/** Is told of former releases, as text; `ended` where one ended. */
export type Listener = (text: string, ended?: Ended) => void

/** What ended is told to whoever begins to listen within this time: a watch begins a moment after the switch. Milliseconds. */
const recently = 30_000

/** What comes to be known of releases after they were switched away from, for those who listen. */
export class FormerReleases {
  readonly #note: (text: string, heard: boolean) => void
  readonly #listeners = new Set<Listener>()
  /** Those that ended before anybody listened. */
  #ended: { text: string; ended: Ended; at: number }[] = []

  /** `note` is told what is amiss, and whether somebody who listens was told. */
  constructor(note: (text: string, heard: boolean) => void) {
    this.#note = note
  }

  /** Until disposed; first it is told what came to be known a moment before. */
  listen(listener: Listener): Disposable {
    for (const { text, ended, at } of this.#ended) {
      const ago = Math.round(performance.now() - at)
      if (ago <= recently) listener(text, { ...ended, ago })
    }
    this.#ended = []
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) }
  }

  tell(text: string, ended?: Ended): void {
    const heard = this.#listeners.size > 0
    for (const listener of this.#listeners) listener(text, ended)
    if (!heard && ended) this.#ended = [...this.#ended.slice(-8), { text, ended, at: performance.now() }]
    // That all went well is worth a word only to those who listen.
    if (!ended || ended.killed) this.#note(text, heard)
  }
}
