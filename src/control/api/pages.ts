import { readFile } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { extname, join } from 'node:path'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** The built pages, served with what a browser needs to keep them safe and fast. */

const types: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
  '.woff': 'font/woff',
}

/** No inline script or style, nothing from elsewhere, in no frame. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "font-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ')

const headers = {
  'content-security-policy': policy,
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
}

/** Lets an answer be a page: its own style, images and scripts are loaded, and nothing else. */
export function setPageHeaders(reply: FastifyReply): void {
  reply.headers(headers)
}

/** Paths that are never a page: what asks for them wants an error it can read. */
const noPage = /^\/(?:api|agents|assets|healthz|readyz|metrics|hooks)(?:\/|$)/

/** Gives the directory of the built pages, once they are built; null where there are none. */
export type PagesDirectory = () => Promise<string | null>

/** Adds the hashed files of the pages, which never change under their names. */
export function addPageFiles(server: FastifyInstance, pages: PagesDirectory): void {
  server.get<{ Params: { file: string } }>('/assets/:file', async (request, reply) => {
    const { file } = request.params
    const directory = /^[\w.-]+$/.test(file) && extname(file) in types ? await pages() : null
    if (
      directory === null ||
      !(await sendFile(request, reply, join(directory, 'assets', file), 'public, max-age=31536000, immutable'))
    )
      reply.callNotFound()
    return reply
  })
  server.get('/icon.svg', async (request, reply) => {
    const directory = await pages()
    if (directory === null || !(await sendFile(request, reply, join(directory, 'icon.svg'), 'public, max-age=3600')))
      reply.callNotFound()
    return reply
  })
}

/** Answers a browser that opens an address of a page; false when this is no such request. */
export async function sendPage(request: FastifyRequest, reply: FastifyReply, pages: PagesDirectory): Promise<boolean> {
  if ((request.method !== 'GET' && request.method !== 'HEAD') || noPage.test(request.url.split('?')[0]!)) return false
  if (!/text\/html/.test(request.headers.accept ?? '')) return false
  const directory = await pages()
  return directory !== null && sendFile(request, reply, join(directory, 'index.html'), 'no-cache')
}

async function sendFile(request: FastifyRequest, reply: FastifyReply, path: string, caching: string): Promise<boolean> {
  const accepted = request.headers['accept-encoding'] ?? ''
  const encodings = [/\bbr\b/.test(accepted) ? 'br' : null, /\bgzip\b/.test(accepted) ? 'gzip' : null, null]
  for (const encoding of new Set(encodings)) {
    const data = await readFile(encoding === null ? path : `${path}.${encoding === 'br' ? 'br' : 'gz'}`).catch(
      () => null,
    )
    if (data === null) continue
    const tag = `"${createHash('sha256').update(data).digest('base64url').slice(0, 22)}"`
    reply.headers({
      ...headers,
      'cache-control': caching,
      'content-type': types[extname(path)]!,
      vary: 'accept-encoding',
      etag: tag,
      ...(encoding === null ? {} : { 'content-encoding': encoding }),
    })
    if (request.headers['if-none-match'] === tag) reply.code(304).send()
    else
      reply
        .code(200)
        .serializer((value: unknown) => value as string)
        .send(data)
    return true
  }
  return false
}
