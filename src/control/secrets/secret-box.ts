import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, linkSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { DployError } from '../../protocol/errors.ts'

const keyBytes = 32
/** NIST SP 800-38D: 96 bits of nonce, 128 bits of tag. Each value gets a nonce of its own. */
const nonceBytes = 12
const tagBytes = 16

/** Seals values so that the database holds none in clear: AES-256-GCM under a key that lies beside it. */
export class SecretBox {
  readonly #key: Buffer

  private constructor(key: Buffer) {
    this.#key = key
  }

  /** A box with a key that is not kept anywhere, or a given one. 32 bytes. */
  static withKey(key: Buffer = randomBytes(keyBytes)): SecretBox {
    return new SecretBox(key)
  }

  /** Opens the box of a data directory; its key is made at first, readable by its user alone. */
  static open(dataDirectory: string): SecretBox {
    const path = join(dataDirectory, 'secret-key')
    return new SecretBox(read(path) ?? make(path))
  }

  /** `name` is what the value is sealed for: it opens under no other. */
  seal(value: string, name: string): string {
    const nonce = randomBytes(nonceBytes)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: tagBytes }).setAAD(
      Buffer.from(name),
    )
    return Buffer.concat([nonce, cipher.update(value, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString('base64')
  }

  /** A text that nobody can make without the key, the same each time: 192 bits in base64url. `purpose` keeps uses apart. */
  mark(purpose: string): string {
    return createHmac('sha256', this.#key).update(`mark:${purpose}`).digest('base64url').slice(0, 32)
  }

  /** Throws `secret.unreadable` when the value was changed, or sealed under another key or for another name. */
  unseal(sealed: string, name: string): string {
    const bytes = Buffer.from(sealed, 'base64')
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, nonceBytes), {
        authTagLength: tagBytes,
      }).setAAD(Buffer.from(name))
      decipher.setAuthTag(bytes.subarray(-tagBytes))
      return Buffer.concat([decipher.update(bytes.subarray(nonceBytes, -tagBytes)), decipher.final()]).toString('utf8')
    } catch (error) {
      throw new DployError('secret.unreadable', 'A secret cannot be opened with the key of this control plane', {
        cause: error,
      })
    }
  }
}

function read(path: string): Buffer | null {
  try {
    const key = readFileSync(path)
    if (key.length !== keyBytes)
      throw new DployError('secret.unreadable', `${path} is not a key of ${keyBytes} bytes`, { where: path })
    return key
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

function make(path: string): Buffer {
  const temporary = `${path}.${process.pid}`
  const file = openSync(temporary, 'w', 0o600)
  try {
    writeSync(file, randomBytes(keyBytes))
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  try {
    // A link fails if another process made the key meanwhile: then that one counts.
    linkSync(temporary, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    rmSync(temporary)
  }
  return read(path)!
}
