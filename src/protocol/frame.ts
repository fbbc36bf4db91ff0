import { DployError } from './errors.ts'

/**
 * A frame: `length of all that follows` (uint32 BE), `length of head` (uint32 BE), head (UTF-8 JSON), body (bytes).
 * The same bytes go over a WebSocket (one frame a message) and over standard input and output.
 */
export interface Frame {
  head: unknown
  body: Uint8Array
}

/** Largest head in bytes: lists of missing digests are the largest heads there are. */
export const maxHeadBytes = 8 * 1024 * 1024
/** Largest body in bytes; longer content travels in several frames. */
export const maxBodyBytes = 8 * 1024 * 1024
const maxFrameBytes = 4 + maxHeadBytes + maxBodyBytes

const empty = new Uint8Array(0)

/** The bytes of a frame. Throws `protocol.invalid` if head or body are over their limits. */
export function encodeFrame(head: unknown, body: Uint8Array = empty): Buffer {
  const headBytes = Buffer.from(JSON.stringify(head), 'utf8')
  if (headBytes.length > maxHeadBytes || body.length > maxBodyBytes) {
    throw new DployError('protocol.invalid', `A frame of ${headBytes.length} + ${body.length} bytes is over the limit`)
  }
  const bytes = Buffer.allocUnsafe(8 + headBytes.length + body.length)
  bytes.writeUInt32BE(4 + headBytes.length + body.length, 0)
  bytes.writeUInt32BE(headBytes.length, 4)
  headBytes.copy(bytes, 8)
  bytes.set(body, 8 + headBytes.length)
  return bytes
}

/** Reads one whole frame. Throws `protocol.invalid` on anything that is not exactly one frame. */
export function decodeFrame(bytes: Uint8Array): Frame {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (buffer.length < 8) throw new DployError('protocol.invalid', `A frame of ${buffer.length} bytes is too short`)
  const length = buffer.readUInt32BE(0)
  const headLength = buffer.readUInt32BE(4)
  if (
    length !== buffer.length - 4 ||
    headLength > length - 4 ||
    headLength > maxHeadBytes ||
    length - 4 - headLength > maxBodyBytes
  ) {
    throw new DployError('protocol.invalid', 'The lengths in a frame do not fit')
  }
  return { head: parseHead(buffer.subarray(8, 8 + headLength)), body: buffer.subarray(8 + headLength) }
}

function parseHead(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw new DployError('protocol.invalid', 'The head of a frame is not JSON', { cause })
  }
}

/** Cuts a byte stream into frames. `push` returns the frames that are complete; throws `protocol.invalid` on garbage. */
export class FrameReader {
  #chunks: Buffer[] = []
  #length = 0

  push(chunk: Uint8Array): Frame[] {
    this.#chunks.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
    this.#length += chunk.byteLength
    const frames: Frame[] = []
    while (this.#length >= 4) {
      const first = this.#chunks[0]!
      const head = first.length >= 4 ? first : Buffer.concat(this.#chunks)
      const wanted = 4 + head.readUInt32BE(0)
      if (wanted > maxFrameBytes || wanted < 8)
        throw new DployError('protocol.invalid', `A frame announces ${wanted} bytes`)
      if (this.#length < wanted) break
      const all = this.#chunks.length === 1 ? first : Buffer.concat(this.#chunks)
      frames.push(decodeFrame(all.subarray(0, wanted)))
      const rest = all.subarray(wanted)
      this.#chunks = rest.length > 0 ? [rest] : []
      this.#length = rest.length
    }
    return frames
  }
}
