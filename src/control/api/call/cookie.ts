import type { FastifyReply, FastifyRequest } from 'fastify'

/** The cookie of a session. Its name has the prefix that lets browsers take it over https alone, for this host alone (RFC 6265bis, 4.1.3.2). */
const secureName = '__Host-dploy'
const plainName = 'dploy'

/** What the cookie of a request holds; null: there is none. */
export function sessionCookie(request: FastifyRequest): string | null {
  const wanted = nameFor(request)
  for (const pair of (request.headers.cookie ?? '').split(';')) {
    const [name, value] = pair.trim().split('=', 2)
    if (name === wanted && value !== undefined && /^[\w-]{1,200}$/.test(value)) return value
  }
  return null
}

/** Gives the browser the cookie; `value` null: takes it away. No script can read it, no other site can have it sent. */
export function setSessionCookie(request: FastifyRequest, reply: FastifyReply, value: string | null): void {
  const secure = nameFor(request) === secureName
  const attributes = [
    'Path=/',
    'HttpOnly',
    'SameSite=Strict',
    ...(secure ? ['Secure'] : []),
    ...(value === null ? ['Max-Age=0'] : []),
  ]
  // Raw, so that answers which are streamed have it too.
  reply.raw.setHeader('set-cookie', [`${nameFor(request)}=${value ?? ''}`, ...attributes].join('; '))
}

/** A proxy on this machine says whether it was asked over https; from elsewhere it is not believed (trustProxy). */
function nameFor(request: FastifyRequest): string {
  return request.protocol === 'https' ? secureName : plainName
}
