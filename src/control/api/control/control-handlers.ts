import { openApiDocument, type OpenApiDocument } from '../../../protocol/api/openapi.ts'
import { DployError } from '../../../protocol/errors.ts'
import type { ApiContext } from '../context.ts'
import { metricsText } from '../../metrics/metrics.ts'
import type { Handlers } from '../server.ts'

/** What the routes of the control plane itself do. */
export function controlHandlers(context: ApiContext): Pick<Handlers, 'health' | 'ready' | 'metrics' | 'openapi'> {
  let document: OpenApiDocument | null = null
  return {
    health: async () => ({ status: 'ok', version: context.version }),

    async ready() {
      if (context.closing) throw new DployError('not_ready', 'The control plane is shutting down')
      try {
        await context.store.applications.environments()
      } catch (error) {
        context.log.error({ err: error }, 'the database cannot be read')
        throw new DployError('not_ready', 'The control plane cannot read its database')
      }
      return { status: 'ready' }
    },

    metrics(call) {
      call.reply.header('content-type', 'text/plain; version=0.0.4; charset=utf-8')
      return metricsText(context)
    },

    openapi: async () => (document ??= openApiDocument(context.version)) as unknown as Record<string, unknown>,
  }
}
