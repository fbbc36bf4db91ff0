/** One line of a deployment's log. */
export interface LogLine {
  seq: number
  /** Epoch milliseconds. */
  at: number
  server: string | null
  kind: 'step' | 'note' | 'output'
  /** Of output: which command printed it. */
  source: string | null
  text: string
  tone: 'plain' | 'bad' | 'good'
}

export interface LogFilter {
  server: string | null
  kind: LogLine['kind'] | null
  /** Only what this command printed: `build`, a hook. */
  source: string | null
  text: string
}

/** More lines or characters than these are not kept: the oldest lines go. The whole log stays in the control plane. */
const most = 150_000
const mostText = 32_000_000
/** How many lines go at least, so that it is not done for every line. */
const atOnce = 10_000

// Sequences of a terminal: those that colour, and those that do anything else.
const sequences = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007]*\u0007|.)/g

/** What a person reads of a line: without colours and other sequences for terminals. */
export function plainText(text: string): string {
  return text.includes('\u001b') ? text.replaceAll(sequences, '') : text
}

/** The lines of a log and those of them that a filter lets through. Lines are added in order; each is looked at once per filter. */
export class LogStore {
  lines: LogLine[] = []
  /** How many were left out at the beginning. */
  dropped = 0
  #characters = 0
  /** Commands that printed something, in the order in which they first did. */
  readonly sources = new Set<string>()
  #filter: LogFilter = { server: null, kind: null, source: null, text: '' }
  #shown: LogLine[] = this.lines
  #seen = 0

  add(line: LogLine): void {
    if (line.source !== null) this.sources.add(line.source)
    this.lines.push(line)
    this.#characters += line.text.length
    if (this.lines.length > most || this.#characters > mostText) this.#drop()
  }

  #drop(): void {
    let count = 0
    for (; count < this.lines.length - 1 && (count < atOnce || this.#characters > mostText * 0.9); count++)
      this.#characters -= this.lines[count]!.text.length
    this.lines.splice(0, count)
    this.dropped += count
    this.#shown = []
    this.#seen = 0
  }

  /** The lines that the filter lets through. */
  shown(filter: LogFilter): readonly LogLine[] {
    const same =
      filter.server === this.#filter.server &&
      filter.kind === this.#filter.kind &&
      filter.source === this.#filter.source &&
      filter.text === this.#filter.text
    if (filter.server === null && filter.kind === null && filter.source === null && filter.text === '') {
      this.#filter = filter
      this.#shown = this.lines
      this.#seen = this.lines.length
      return this.lines
    }
    if (!same || this.#shown === this.lines) {
      this.#filter = filter
      this.#shown = []
      this.#seen = 0
    }
    const needle = filter.text.toLowerCase()
    for (; this.#seen < this.lines.length; this.#seen++) {
      const line = this.lines[this.#seen]!
      if (filter.server !== null && line.server !== filter.server) continue
      if (filter.kind !== null && line.kind !== filter.kind) continue
      if (filter.source !== null && line.source !== filter.source) continue
      if (
        needle !== '' &&
        !plainText(line.text).toLowerCase().includes(needle) &&
        !(line.server ?? '').toLowerCase().includes(needle)
      )
        continue
      this.#shown.push(line)
    }
    return this.#shown
  }
}
