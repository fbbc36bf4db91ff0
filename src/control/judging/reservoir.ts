/**
 * A fair sample of all values that were added, of limited size: each has the same chance to be in it (algorithm R: Vitter 1985,
 * "Random sampling with a reservoir"). Its numbers come from a generator of its own, so that the same values give the same sample.
 */
export class Reservoir {
  readonly #size: number
  readonly #values: number[] = []
  #seen = 0
  #state = 0x9e3779b9

  constructor(size: number) {
    this.#size = size
  }

  get values(): readonly number[] {
    return this.#values
  }

  add(value: number): void {
    this.#seen++
    if (this.#values.length < this.#size) {
      this.#values.push(value)
      return
    }
    const place = Math.floor(this.#random() * this.#seen)
    if (place < this.#size) this.#values[place] = value
  }

  /** From 0 to 1: xorshift32 (Marsaglia 2003, "Xorshift RNGs"). */
  #random(): number {
    this.#state ^= this.#state << 13
    this.#state ^= this.#state >>> 17
    this.#state ^= this.#state << 5
    return (this.#state >>> 0) / 4_294_967_296
  }
}
