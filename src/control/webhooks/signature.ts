import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

/** HMAC-SHA256 of the bytes as they came, as hexadecimal digits. */
export function hmacHex(secret: string | Uint8Array, body: Uint8Array): string {
  return createHmac('sha256', secret).update(body).digest('hex')
}

/** Whether two texts are the same, in a time that does not tell how far they are: what is compared are digests of both. */
export function sameText(one: string, other: string): boolean {
  return timingSafeEqual(createHash('sha256').update(one).digest(), createHash('sha256').update(other).digest())
}

/** What Standard Webhooks begins its secrets with; the rest is the key in base64. */
export const standardPrefix = 'whsec_'

/** The key of a secret of Standard Webhooks: what stands behind `whsec_`, decoded; or else the text itself. */
export function standardKey(secret: string): Buffer {
  return secret.startsWith(standardPrefix)
    ? Buffer.from(secret.slice(standardPrefix.length), 'base64')
    : Buffer.from(secret)
}

/** The signature of Standard Webhooks, `v1,BASE64`, over id, time (seconds) and body: https://www.standardwebhooks.com */
export function standardSignature(
  secret: string,
  id: string,
  seconds: number | string,
  body: Uint8Array | string,
): string {
  return `v1,${createHmac('sha256', standardKey(secret)).update(`${id}.${seconds}.`).update(body).digest('base64')}`
}
