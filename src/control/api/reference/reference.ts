import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { openApiDocument } from '../../../protocol/api/openapi.ts'
import { version } from '../../../protocol/product-version.ts'
import { tagged } from '../call/entity-tag.ts'
import { setPageHeaders } from '../pages.ts'
import { referencePage } from './reference-page.ts'
import { referenceStyle } from './reference-style.ts'

let page: string | null = null

/** Adds the API's reference at /api. It tells nothing about who runs it, and so is for everybody. */
export function addReference(server: FastifyInstance): void {
  const send = (type: string, made: () => string) => (_request: FastifyRequest, reply: FastifyReply) => {
    setPageHeaders(reply)
    return reply
      .header('content-type', type)
      .header('cache-control', 'no-cache')
      .serializer((value: unknown) => value as string)
      .send(made())
  }
  server.get(
    '/api',
    { onSend: tagged },
    send('text/html; charset=utf-8', () => (page ??= referencePage(openApiDocument(version())))),
  )
  server.get(
    '/api/reference.css',
    { onSend: tagged },
    send('text/css; charset=utf-8', () => referenceStyle),
  )
}
