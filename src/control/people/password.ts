import { argon2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { DployError } from '../../protocol/errors.ts'

const derive = promisify(argon2)

/** Of the OWASP Password Storage Cheat Sheet for Argon2id: 19 MiB, 2 passes, 1 lane. Memory in KiB. */
const parameters = { memory: 19_456, passes: 2, parallelism: 1 }
const [saltBytes, tagBytes] = [16, 32]

/** So many are computed at once, so that sign-ins leave a core and memory to the rest; so many may wait for that. */
const atOnce = 2
const mayWait = 40

/** A password as a PHC string (https://github.com/P-H-C/phc-string-format): argon2id with its parameters and a salt of its own. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(saltBytes)
  const tag = await compute(password, salt, parameters, tagBytes)
  return `$argon2id$v=19$m=${parameters.memory},t=${parameters.passes},p=${parameters.parallelism}$${unpadded(salt)}$${unpadded(tag)}`
}

/**
 * Whether this is the password. `phc` null: nobody has one; the same work is done, so that the time tells nothing.
 * Throws `sign_in.too_many` when too many wait already.
 */
export async function isPassword(password: string, phc: string | null): Promise<boolean> {
  const [, memory, passes, parallelism, salt, tag] =
    /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([\w+/]+)\$([\w+/]+)$/.exec(phc ?? nobody) ?? []
  if (tag === undefined) throw new DployError('internal', 'A stored password is not argon2id')
  const expected = Buffer.from(tag, 'base64')
  const found = await compute(
    password,
    Buffer.from(salt!, 'base64'),
    { memory: Number(memory), passes: Number(passes), parallelism: Number(parallelism) },
    expected.length,
  )
  return timingSafeEqual(found, expected) && phc !== null
}

/** Whether it was hashed with other parameters than would be used now. */
export function isOutdated(phc: string): boolean {
  return !phc.startsWith(`$argon2id$v=19$m=${parameters.memory},t=${parameters.passes},p=${parameters.parallelism}$`)
}

const nobody = `$argon2id$v=19$m=${parameters.memory},t=${parameters.passes},p=${parameters.parallelism}$${unpadded(Buffer.alloc(saltBytes))}$${unpadded(Buffer.alloc(tagBytes))}`

let running = 0
const waiting: (() => void)[] = []

async function compute(password: string, nonce: Buffer, cost: typeof parameters, tagLength: number): Promise<Buffer> {
  if (running >= atOnce) {
    if (waiting.length >= mayWait)
      throw new DployError('sign_in.too_many', 'Too many people sign in at this moment', {
        fix: 'Try again in a few seconds',
      })
    await new Promise<void>((resolve) => waiting.push(resolve))
  } else running++
  try {
    // NFC: the same password typed on another keyboard is the same bytes (NIST SP 800-63B-4, 3.1.1.2).
    return await derive('argon2id', { message: Buffer.from(password.normalize('NFC')), nonce, ...cost, tagLength })
  } finally {
    const next = waiting.shift()
    if (next) next()
    else running--
  }
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}
