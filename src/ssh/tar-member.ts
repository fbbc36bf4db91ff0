import { Transform, type TransformCallback } from 'node:stream'

const blockBytes = 512

/** Cuts the one file whose path ends in a given way out of a tar archive (ustar: pax(1), "ustar Interchange Format"). */
export class TarMember extends Transform {
  readonly #ending: string
  #buffer: Buffer = Buffer.alloc(0)
  /** Bytes of the current member that are still to come, and of its padding. */
  #content = 0
  #padding = 0
  #wanted = false

  constructor(ending: string) {
    super()
    this.#ending = `/${ending}`
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk])
    for (;;) {
      if (this.#content > 0) {
        const part = this.#take(this.#content)
        this.#content -= part.length
        if (this.#wanted) this.push(part)
        if (this.#content > 0) break
      }
      this.#padding -= this.#take(this.#padding).length
      if (this.#padding > 0 || this.#buffer.length < blockBytes) break
      const header = this.#take(blockBytes)
      const text = (from: number, to: number) => header.subarray(from, to).toString('latin1').replace(/\0.*$/s, '')
      this.#content = Number.parseInt(text(124, 136).trim() || '0', 8)
      this.#padding = (blockBytes - (this.#content % blockBytes)) % blockBytes
      const path = text(345, 500) === '' ? text(0, 100) : `${text(345, 500)}/${text(0, 100)}`
      this.#wanted = (text(156, 157) === '0' || text(156, 157) === '') && `/${path}`.endsWith(this.#ending)
    }
    done()
  }

  #take(bytes: number): Buffer {
    const part = this.#buffer.subarray(0, bytes)
    this.#buffer = this.#buffer.subarray(part.length)
    return part
  }
}
