import { randomBytes } from 'node:crypto'

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

/** A new identifier: a prefix that says of what, and 80 random bits in Crockford's base 32. */
export function newId(
  prefix:
    | 'ans'
    | 'app'
    | 'env'
    | 'srv'
    | 'rel'
    | 'dep'
    | 'cmd'
    | 'tok'
    | 'ins'
    | 'sec'
    | 'run'
    | 'per'
    | 'ses'
    | 'whk'
    | 'dlv'
    | 'ntf'
    | 'msg',
): string {
  let text = ''
  for (const byte of randomBytes(16)) text += alphabet[byte & 31]
  return `${prefix}_${text}`
}
