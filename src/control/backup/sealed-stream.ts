import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto'
import { promisify } from 'node:util'
import { DployError } from '../../protocol/errors.ts'

/** How a passphrase becomes a key: RFC 7914, with what OWASP asks for at least (N = 2^17, r = 8, p = 1). */
export interface Sealing {
  kind: 'scrypt-aes-256-gcm'
  salt: string
  N: number
  r: number
  p: number
}

const chunkBytes = 64 * 1024
const prefixBytes = 7
const tagBytes = 16
const lengthBytes = 4

export function newSealing(): Sealing {
  return { kind: 'scrypt-aes-256-gcm', salt: randomBytes(32).toString('base64'), N: 2 ** 17, r: 8, p: 1 }
}

async function keyOf(passphrase: string, { salt, N, r, p }: Sealing): Promise<Buffer> {
  const derive = promisify<string, Buffer, number, object, Buffer>(scrypt)
  return derive(passphrase, Buffer.from(salt, 'base64'), 32, { N, r, p, maxmem: 256 * N * r })
}

/**
 * Seals bytes in pieces, so that nothing is read that is not proved yet: the STREAM construction (Hoang, Reyhanitabar, Rogaway and
 * Vizár, 2015). Each piece has its number and whether it is the last in its nonce: none can be left out, repeated or moved.
 */
export async function* seal(
  plain: AsyncIterable<Uint8Array>,
  passphrase: string,
  sealing: Sealing,
): AsyncGenerator<Uint8Array> {
  const key = await keyOf(passphrase, sealing)
  const prefix = randomBytes(prefixBytes)
  yield prefix
  let number = 0
  const sealed = (piece: Uint8Array, last: boolean): Uint8Array => {
    const cipher = createCipheriv('aes-256-gcm', key, nonceOf(prefix, number++, last), { authTagLength: tagBytes })
    const bytes = Buffer.concat([cipher.update(piece), cipher.final(), cipher.getAuthTag()])
    const length = Buffer.alloc(lengthBytes)
    length.writeUInt32BE(bytes.length)
    return Buffer.concat([length, bytes])
  }
  let rest: Buffer = Buffer.alloc(0)
  for await (const bytes of plain) {
    rest = rest.length === 0 ? Buffer.from(bytes) : Buffer.concat([rest, bytes])
    let at = 0
    for (; rest.length - at > chunkBytes; at += chunkBytes) yield sealed(rest.subarray(at, at + chunkBytes), false)
    rest = rest.subarray(at)
  }
  yield sealed(rest, true)
}

/** Throws `backup.passphrase` where the first piece does not open, `backup.damaged` for a later one. */
export async function* unseal(
  sealed: AsyncIterable<Uint8Array>,
  passphrase: string,
  sealing: Sealing,
): AsyncGenerator<Uint8Array> {
  const key = await keyOf(passphrase, sealing)
  let rest: Buffer = Buffer.alloc(0)
  let prefix: Buffer | null = null
  let number = 0
  let ended = false
  for await (const bytes of sealed) {
    rest = rest.length === 0 ? Buffer.from(bytes) : Buffer.concat([rest, bytes])
    if (prefix === null && rest.length >= prefixBytes) {
      prefix = rest.subarray(0, prefixBytes)
      rest = rest.subarray(prefixBytes)
    }
    while (prefix !== null && rest.length >= lengthBytes) {
      const length = rest.readUInt32BE(0)
      if (ended || length < tagBytes || length > chunkBytes + tagBytes) throw damaged()
      if (rest.length < lengthBytes + length) break
      const piece = rest.subarray(lengthBytes, lengthBytes + length)
      rest = rest.subarray(lengthBytes + length)
      const whole = opened(key, prefix, number, piece, false)
      const plain = whole ?? opened(key, prefix, number, piece, true)
      if (plain === null) throw number === 0 ? new DployError('backup.passphrase') : damaged()
      ended = whole === null
      number++
      yield plain
    }
  }
  if (!ended || rest.length > 0) throw damaged()
}

function opened(key: Buffer, prefix: Buffer, number: number, piece: Buffer, last: boolean): Buffer | null {
  const decipher = createDecipheriv('aes-256-gcm', key, nonceOf(prefix, number, last), { authTagLength: tagBytes })
  decipher.setAuthTag(piece.subarray(piece.length - tagBytes))
  try {
    return Buffer.concat([decipher.update(piece.subarray(0, piece.length - tagBytes)), decipher.final()])
  } catch {
    return null
  }
}

function nonceOf(prefix: Buffer, number: number, last: boolean): Buffer {
  const counter = Buffer.alloc(5)
  counter.writeUInt32BE(number, 0)
  counter.writeUInt8(last ? 1 : 0, 4)
  return Buffer.concat([prefix, counter])
}

function damaged(): DployError {
  return new DployError('backup.damaged', 'The backup is damaged, or cut off')
}
