import type { FastifyReply, FastifyRequest } from 'fastify'
import { DployError } from '../../../protocol/errors.ts'

/** What every answer tells a browser: run nothing, show it in no frame, guess no type, tell no other site. Pages widen the first. */
const headers = {
  'content-security-policy': "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  // What holds for one caller is kept for nobody else, and asked for again.
  'cache-control': 'private, no-cache',
}

/** Raw, so that streams and refusals have them too. */
export function setSafeHeaders(reply: FastifyReply): void {
  for (const [name, value] of Object.entries(headers)) reply.raw.setHeader(name, value)
}

/**
 * Refuses what another site's page has a browser send. `byCookie`: the browser added by itself who asks, so that it must
 * say where the request comes from. Throws `request.cross_site`.
 */
export function checkOrigin(request: FastifyRequest, byCookie: boolean): void {
  if (request.method === 'GET' || request.method === 'HEAD') return
  const site = request.headers['sec-fetch-site']
  const { origin } = request.headers
  if (site !== undefined && site !== 'same-origin') throw new DployError('request.cross_site')
  // No page can make a browser lie in Sec-Fetch-Site; without it (plain http) the host says the same, if proxies leave it as it is.
  if (site === undefined && origin !== undefined && hostOf(origin) !== request.host.toLowerCase())
    throw new DployError(
      'request.cross_site',
      `The request comes from ${origin.slice(0, 200)}, and dploy is at ${request.host.slice(0, 200)}`,
    )
  if (!byCookie) return
  if (site === undefined && origin === undefined)
    throw new DployError('request.cross_site', 'The request does not say from which page it comes', {
      fix: 'Use an API token for what is no browser: dploy token create',
    })
  // A form of another site can send neither type without asking first (Fetch, CORS-safelisted request-header).
  const type = request.headers['content-type']
  const body = Number(request.headers['content-length'] ?? 0) > 0 || request.headers['transfer-encoding'] !== undefined
  if (body && !/^application\/(?:json|zstd|octet-stream)(?:;|$)/i.test(type ?? ''))
    throw new DployError('request.invalid', 'The body must be application/json', { where: 'content-type' })
}

function hostOf(origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).host : null
}
