import type { FastifyRequest } from 'fastify'

/**
 * The body of a request as it comes. Whoever stops reading it gives it up, not the connection: what is left is thrown
 * away as it comes, since the answer is to reach the one who still sends, and the next request comes the same way.
 */
export async function* bodyOf({ raw }: FastifyRequest): AsyncGenerator<Uint8Array> {
  try {
    yield* raw.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>
  } finally {
    raw.resume()
  }
}
