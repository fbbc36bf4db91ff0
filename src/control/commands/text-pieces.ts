import { isUtf8 } from 'node:buffer'

/** Bytes as they go into JSON: as text where they are UTF-8, else in base64. */
export type Piece = { text: string } | { base64: string }

/** Makes pieces of a byte stream without ever cutting a character in two: its beginning waits for the rest. */
export class TextPieces {
  #held: Buffer = Buffer.alloc(0)

  push(bytes: Uint8Array): Piece[] {
    const all =
      this.#held.length === 0
        ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
        : Buffer.concat([this.#held, bytes])
    const end = all.length - cutCharacter(all)
    this.#held = Buffer.from(all.subarray(end))
    return piece(all.subarray(0, end))
  }

  /** What still waits when the stream has ended. */
  end(): Piece[] {
    const rest = this.#held
    this.#held = Buffer.alloc(0)
    return piece(rest)
  }
}

export function bytesOf(one: Piece): Buffer {
  return 'text' in one ? Buffer.from(one.text, 'utf8') : Buffer.from(one.base64, 'base64')
}

function piece(bytes: Buffer): Piece[] {
  if (bytes.length === 0) return []
  return [isUtf8(bytes) ? { text: bytes.toString('utf8') } : { base64: bytes.toString('base64') }]
}

/** How many bytes at the end begin a character that is not whole yet (RFC 3629: the first byte tells the length). */
function cutCharacter(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!
    if ((byte & 0b1100_0000) === 0b1000_0000) continue
    const length = byte >= 0xf8 ? 1 : byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
    return length > back ? back : 0
  }
  return 0
}
