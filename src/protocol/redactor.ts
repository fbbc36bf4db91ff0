/** Shorter values are not looked for: they stand in text by chance. */
const shortest = 6
const mask = '***'

/**
 * Takes the values of secrets out of text that comes in pieces, also where a value is cut by the end of a piece: what may
 * be the beginning of one is held back until the next piece, or `flush`. Of a value of several lines each line counts.
 */
export class Redactor {
  #values: string[] = []
  readonly #held = new Map<string, string>()

  /** Adds values to look for. */
  know(values: Iterable<string>): void {
    const parts = [...this.#values, ...values].flatMap((value) => [
      value,
      value.trim(),
      ...value.split(/\r?\n/).map((line) => line.trim()),
    ])
    // Longest first: a value may be the beginning of another.
    this.#values = [...new Set(parts)].filter((part) => part.length >= shortest).sort((a, b) => b.length - a.length)
  }

  /** The text without secrets. */
  whole(text: string): string {
    return this.#values.reduce((rest, value) => rest.replaceAll(value, mask), text)
  }

  /** What may be shown of the next piece of a stream. */
  piece(stream: string, text: string): string {
    const all = this.whole((this.#held.get(stream) ?? '') + text)
    const held = this.#beginningAtEnd(all)
    this.#held.set(stream, all.slice(all.length - held))
    return all.slice(0, all.length - held)
  }

  /** What was held back of a stream that has ended. */
  flush(stream: string): string {
    const held = this.#held.get(stream) ?? ''
    this.#held.delete(stream)
    return held
  }

  /** How many characters at the end of the text are the beginning of a value. */
  #beginningAtEnd(text: string): number {
    let most = 0
    for (const value of this.#values) {
      for (let length = Math.min(value.length - 1, text.length); length > most; length--)
        if (text.endsWith(value.slice(0, length))) most = length
    }
    return most
  }
}
