import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Route } from '../../../protocol/api/route.ts'
import type { Refusals } from '../../refusals.ts'
import { refuseConnection } from './problem.ts'

/**
 * How fast a request has to come, so that nobody keeps connections open with half of one:
 * - `strict`, for what anybody may send: all of it within `seconds`;
 * - `fair`, for those who are known: the same, and a second more for each 64 KB that came;
 * - `steady`, for uploads of any length: it may not pause for four times as long. A pause of ours is none of theirs.
 */
export type Pace = 'strict' | 'fair' | 'steady'

declare module 'fastify' {
  interface FastifyContextConfig {
    pace?: Pace
  }
}

const fairBytes = 64 * 1024

export function paceOf(route: Route): Pace {
  return route.access === 'open' ? 'strict' : route.stream === 'pack' ? 'steady' : 'fair'
}

/** What Node itself does for the head of a request. Milliseconds. */
export function headLimits(seconds: number): { headersTimeout: number; connectionsCheckingInterval: number } {
  return { headersTimeout: seconds * 1000, connectionsCheckingInterval: 1_000 }
}

/** Cuts off requests whose body does not come. Of those that are cut off the log tells. */
export function limitBodies(server: FastifyInstance, seconds: number, refusals: Refusals): void {
  server.addHook('onRequest', async (request) => {
    const { headers } = request.raw
    if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0)
      watch(request, seconds * 1000, refusals)
  })
}

function watch(request: FastifyRequest, limit: number, refusals: Refusals): void {
  const { raw } = request
  const { socket } = raw
  const pace = request.routeOptions.config.pace ?? 'strict'
  const first = socket.bytesRead
  const began = performance.now()
  let seen = first
  let moved = began
  const late = () => {
    const now = performance.now()
    if (pace !== 'steady')
      return now - began > limit + (pace === 'fair' ? ((socket.bytesRead - first) / fairBytes) * 1000 : 0)
    // What waits here to be read is not theirs to send.
    if (socket.bytesRead > seen || raw.readableLength > 0) {
      seen = socket.bytesRead
      moved = now
    }
    return now - moved > 4 * limit
  }
  const timer = setInterval(
    () => {
      if (raw.complete || socket.destroyed) return clearInterval(timer)
      if (!late()) return
      clearInterval(timer)
      refuseConnection(Object.assign(new Error('too slow'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), socket, refusals)
    },
    Math.min(1000, limit / 4),
  )
  timer.unref()
  raw.once('end', () => clearInterval(timer))
  socket.once('close', () => clearInterval(timer))
}
