import type { FastifyRequest } from 'fastify'
import type { Route } from '../../../protocol/api/route.ts'
import { admit } from './access.ts'
import type { Caller } from './caller.ts'
import type { ApiContext } from '../context.ts'
import { rightsNow } from './identify.ts'

/** How often who reads a stream, or has a terminal open, is looked at again. Milliseconds. */
const lookEvery = 3_000

/** Ends what goes on for long once its caller may not have it any more: signed out, removed, or given another role. */
export function endWithAccess(
  context: ApiContext,
  route: Route,
  caller: Caller,
  request: FastifyRequest,
  gone: AbortController,
): void {
  if (caller.kind !== 'person' && caller.kind !== 'token') return
  const timer = setInterval(() => void look(), lookEvery)
  gone.signal.addEventListener('abort', () => clearInterval(timer), { once: true })
  async function look(): Promise<void> {
    try {
      await admit(context, route, { ...caller, rights: await rightsNow(context, caller) }, request)
    } catch (error) {
      if (gone.signal.aborted) return
      gone.abort(error)
      // What is under way is ended by its handler; a stream that waits for nothing, by this.
      request.raw.destroy()
    }
  }
}
