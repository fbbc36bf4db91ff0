import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** Gives an answer its entity tag, and nothing but 304 to who has it already (RFC 9110, 13.1.2). */
export async function tagged(request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<unknown> {
  if (reply.statusCode !== 200 || typeof payload !== 'string') return payload
  const tag = `"${createHash('sha256').update(payload).digest('base64url').slice(0, 22)}"`
  void reply.header('etag', tag)
  const known = request.headers['if-none-match']
  if (
    known === undefined ||
    !(known.trim() === '*' || known.split(',').some((one) => one.trim().replace(/^W\//, '') === tag))
  )
    return payload
  void reply.code(304).removeHeader('content-length').removeHeader('content-type')
  return ''
}
