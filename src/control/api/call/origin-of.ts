import type { FastifyRequest } from 'fastify'
import type { ApiContext } from '../context.ts'

/** Where this control plane is: as it was told (dploy serve --url); else as whoever asks sees it; over the unix socket as it listens, or nothing. */
export function originOf(context: Pick<ApiContext, 'address' | 'publicUrl'>, request: FastifyRequest): string {
  if (context.publicUrl !== null) return context.publicUrl.replace(/\/+$/, '')
  return request.socket.remoteAddress === undefined
    ? (context.address.url ?? '')
    : `${request.protocol}://${request.host}`
}
