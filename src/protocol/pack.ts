import { DployError } from './errors.ts'
import type { Digest } from './manifest.ts'

/**
 * A pack is a sequence of objects: digest (32 bytes), size (uint64 BE), time (uint64 BE, epoch milliseconds at which
 * the control plane first saw the object), content. The whole sequence travels compressed with zstd.
 */
export const packHeaderBytes = 48

export interface PackedObject {
  digest: Digest
  /** Bytes. */
  size: number
  /** Epoch milliseconds. */
  time: number
}

/** The header that stands before an object's content. */
export function packHeader(object: PackedObject): Buffer {
  const header = Buffer.alloc(packHeaderBytes)
  header.write(object.digest, 0, 'hex')
  header.writeBigUInt64BE(BigInt(object.size), 32)
  header.writeBigUInt64BE(BigInt(object.time), 40)
  return header
}

/** Where the objects of a pack go. `begin` is followed by `data` until all `size` bytes came, then by `end`. */
export interface PackSink {
  begin(object: PackedObject): void
  data(chunk: Buffer): void
  end(): void
}

/** Cuts a decompressed pack into its objects. Throws `protocol.invalid` if it ends in the middle of one. */
export class PackReader {
  readonly #sink: PackSink
  #header = Buffer.alloc(0)
  #left = -1

  constructor(sink: PackSink) {
    this.#sink = sink
  }

  push(chunk: Buffer): void {
    let rest = chunk
    while (rest.length > 0) {
      if (this.#left < 0) {
        const needed = packHeaderBytes - this.#header.length
        this.#header = Buffer.concat([this.#header, rest.subarray(0, needed)])
        rest = rest.subarray(needed)
        if (this.#header.length < packHeaderBytes) return
        this.#begin()
      } else {
        const part = rest.subarray(0, this.#left)
        rest = rest.subarray(part.length)
        this.#left -= part.length
        this.#sink.data(part)
      }
      if (this.#left === 0) this.#end()
    }
  }

  /** To be called after the last chunk. */
  finish(): void {
    if (this.#left >= 0 || this.#header.length > 0)
      throw new DployError('protocol.invalid', 'A pack ends in the middle of an object')
  }

  #begin(): void {
    const size = Number(this.#header.readBigUInt64BE(32))
    const time = Number(this.#header.readBigUInt64BE(40))
    if (!Number.isSafeInteger(size) || !Number.isSafeInteger(time))
      throw new DployError('protocol.invalid', 'A pack has an impossible size')
    this.#sink.begin({ digest: this.#header.toString('hex', 0, 32), size, time })
    this.#header = Buffer.alloc(0)
    this.#left = size
  }

  #end(): void {
    this.#sink.end()
    this.#left = -1
  }
}
