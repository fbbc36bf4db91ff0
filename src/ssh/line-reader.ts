import { PassThrough, type Readable } from 'node:stream'

/** A line that is longer than this is not one of ours. Bytes. */
const longest = 64 * 1024

/** Reads a stream line by line for as long as lines come, and hands over the rest of it as bytes. */
export class LineReader {
  readonly #source: Readable
  #buffer: Buffer = Buffer.alloc(0)
  #ended = false
  #wake: () => void = () => {}

  constructor(source: Readable) {
    this.#source = source
    source.on('data', this.#take)
    // One that is given up is closed, and has no end.
    for (const event of ['end', 'error', 'close']) source.once(event, this.#end)
  }

  /** Whether what comes is no line, however long it is waited for its end. */
  get overlong(): boolean {
    return this.#buffer.length > longest && !this.#buffer.includes(10)
  }

  /** The next line without its end; null at the end of the stream, and where a line has none. */
  async next(): Promise<string | null> {
    for (;;) {
      const end = this.#buffer.indexOf(10)
      if (end >= 0) {
        const line = this.#buffer.subarray(0, end).toString('utf8')
        this.#buffer = this.#buffer.subarray(end + 1)
        return line
      }
      if (this.#ended) return null
      if (this.overlong) {
        this.#source.off('data', this.#take).resume()
        return null
      }
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  /** Throws away all that comes up to these bytes, and them. False if the stream ended before. */
  async skipPast(bytes: Buffer): Promise<boolean> {
    for (;;) {
      const at = this.#buffer.indexOf(bytes)
      if (at >= 0) {
        this.#buffer = this.#buffer.subarray(at + bytes.length)
        return true
      }
      if (this.#ended) return false
      this.#buffer = this.#buffer.subarray(Math.max(0, this.#buffer.length - bytes.length + 1))
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  /** What comes after the lines that were read. Nothing may be read here any more. */
  rest(): Readable {
    this.#source.off('data', this.#take).off('end', this.#end).off('error', this.#end).off('close', this.#end)
    this.#source.on('error', () => {})
    const rest = new PassThrough()
    if (this.#buffer.length > 0) rest.write(this.#buffer)
    if (this.#ended) rest.end()
    else this.#source.once('close', () => rest.end()).pipe(rest)
    return rest
  }

  readonly #take = (chunk: Buffer) => {
    this.#buffer = Buffer.concat([this.#buffer, chunk])
    this.#wake()
  }

  readonly #end = () => {
    this.#ended = true
    this.#wake()
  }
}
