import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { QueryError } from './query.ts'

export interface Credentials {
  accessKeyId: string
  secretAccessKey: string
  sessionToken: string
}

/** Clocks may differ by this much. Milliseconds (AWS: 5 minutes for the Query APIs). */
const skew = 5 * 60_000

/**
 * Checks that a request carries a right AWS Signature Version 4 (docs.aws.amazon.com/IAM, "Create a signed AWS API
 * request") of one of these credentials, for this region and service `elasticloadbalancing`. Answers its access key id;
 * throws the error that AWS answers.
 */
export function verifySignature(
  request: { method: string; path: string; headers: IncomingHttpHeaders; body: string },
  accepted: readonly Credentials[],
  region: string,
): string {
  const { headers } = request
  const authorization = headers.authorization
  if (authorization === undefined)
    throw new QueryError('MissingAuthenticationToken', 'Request is missing Authentication Token', 403)
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$/.exec(
      authorization,
    )
  if (!match)
    throw new QueryError('IncompleteSignature', `Authorization header is not well formed: ${authorization}`, 403)
  const [, key, day, signedRegion, service, signed, signature] = match as unknown as [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
  ]
  const credentials = accepted.find((one) => one.accessKeyId === key)
  if (!credentials || headers['x-amz-security-token'] !== credentials.sessionToken) {
    throw new QueryError('InvalidClientTokenId', 'The security token included in the request is invalid.', 403)
  }
  if (service !== 'elasticloadbalancing')
    throw new QueryError(
      'SignatureDoesNotMatch',
      `Credential should be scoped to correct service: 'elasticloadbalancing'.`,
      403,
    )
  if (signedRegion !== region)
    throw new QueryError(
      'SignatureDoesNotMatch',
      `Credential should be scoped to a valid region, not '${signedRegion}'.`,
      403,
    )
  const date = headers['x-amz-date']
  const names = signed.split(';')
  for (const name of ['host', 'x-amz-date', 'x-amz-security-token'])
    if (!names.includes(name)) throw new QueryError('SignatureDoesNotMatch', `The header ${name} is not signed`, 403)
  if (typeof date !== 'string' || !date.startsWith(day) || Math.abs(instant(date) - Date.now()) > skew)
    throw new QueryError('SignatureDoesNotMatch', `Signature expired: ${String(date)}`, 403)
  const canonical = [
    request.method,
    request.path,
    '',
    ...names.map((name) => `${name}:${String(headers[name]).trim()}`),
    '',
    signed,
    sha256(request.body),
  ].join('\n')
  const scope = `${day}/${region}/${service}/aws4_request`
  const derived = [day, region, service, 'aws4_request'].reduce<Buffer>(
    (secret, part) => hmac(secret, part),
    Buffer.from(`AWS4${credentials.secretAccessKey}`),
  )
  const expected = hmac(derived, ['AWS4-HMAC-SHA256', date, scope, sha256(canonical)].join('\n'))
  if (!timingSafeEqual(expected, Buffer.from(signature, 'hex'))) {
    throw new QueryError(
      'SignatureDoesNotMatch',
      'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.',
      403,
    )
  }
  return key
}

function instant(date: string): number {
  return Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'))
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
