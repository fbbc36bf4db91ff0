import type { FastifyRequest } from 'fastify'
import type { Webhook } from '../../../protocol/api/webhooks.ts'
import { DployError } from '../../../protocol/errors.ts'
import type { StoredWebhook } from '../../store/webhooks.ts'
import type { Push } from '../../webhooks/push.ts'
import { services } from '../../webhooks/services/registry.ts'
import type { Headers } from '../../webhooks/services/service.ts'
import type { ApiContext } from '../context.ts'
import { originOf } from '../call/origin-of.ts'
import type { Handlers } from '../server.ts'

/** What the routes of webhooks do. */
export function webhookHandlers(
  context: ApiContext,
): Pick<
  Handlers,
  'webhooks' | 'addWebhook' | 'removeWebhook' | 'deliveries' | 'redeliver' | 'testWebhook' | 'receiveDelivery'
> {
  const { store, receiver } = context
  const present = async (webhook: StoredWebhook, request: FastifyRequest): Promise<Webhook> => ({
    ...webhook,
    url: `${originOf(context, request)}/api/v1/webhooks/${webhook.id}/deliveries`,
    last: (await store.webhooks.deliveries(webhook.id, 1))[0] ?? null,
  })
  return {
    async webhooks({ request }) {
      return { webhooks: await Promise.all((await store.webhooks.list()).map((webhook) => present(webhook, request))) }
    },

    async addWebhook({ body, caller, request, tell }) {
      const { service, note, application, environments } = body
      if (environments !== null && application === null)
        throw new DployError('request.invalid', 'environments go with an application', { where: 'body/environments' })
      for (const environment of environments ?? []) await store.applications.environment(application!, environment)
      if (environments === null && application !== null) await mustBeKnown(context, application)
      const secret = body.secret ?? services[service].newSecret()
      const webhook = await store.webhooks.add(
        { service, note, application, environments, createdBy: caller.name },
        secret,
        Date.now(),
      )
      tell({ subject: webhook.id, before: null, after: { service, note, application, environments } })
      return { webhook: await present(webhook, request), secret }
    },

    async removeWebhook({ params, tell }) {
      const { service, note, application, environments } = await store.webhooks.get(params.webhook)
      tell({ before: { service, note, application, environments }, after: null })
      await store.webhooks.remove(params.webhook)
      return {}
    },

    async deliveries({ params, query }) {
      await store.webhooks.get(params.webhook)
      return { deliveries: await store.webhooks.deliveries(params.webhook, query.limit) }
    },

    async redeliver({ params, caller, tell }) {
      const { event, branches, results } = await store.webhooks.delivery(params.webhook, params.delivery)
      tell({ before: { event, branches, results } })
      const id = await receiver.again(params.webhook, params.delivery, caller, Date.now())
      tell({ after: { delivery: id } })
      return store.webhooks.delivery(params.webhook, id)
    },

    async testWebhook({ params, body }) {
      const webhook = await store.webhooks.get(params.webhook)
      const sources = body.repository === null ? await sourcesOf(context, webhook) : [body.repository]
      const repository: Push['repository'] = {
        urls: sources,
        path: null,
        name: body.repository ?? 'the source',
        defaultBranch: null,
      }
      return {
        results: await receiver.rehearse(
          { repository, branches: [{ name: body.branch, commit: '' }], by: '' },
          webhook,
        ),
      }
    },

    async receiveDelivery({ params, request, reply }) {
      const body = request.body instanceof Uint8Array ? request.body : new Uint8Array()
      const receipt = await receiver.receive(params.webhook, single(request.headers), body, Date.now())
      if (receipt.state === 'accepted') reply.code(202)
      return receipt
    },
  }
}

/** Throws `environment.unknown`. */
async function mustBeKnown({ store }: ApiContext, application: string): Promise<void> {
  const known = [...new Set((await store.applications.environments()).map((one) => one.application))]
  if (!known.includes(application))
    throw new DployError(
      'environment.unknown',
      `There is no application ${application}; known: ${known.join(', ') || 'none'}`,
    )
}

/** Addresses of the sources of all applications that a webhook is for. */
async function sourcesOf({ store }: ApiContext, webhook: StoredWebhook): Promise<string[]> {
  const environments = await store.applications.environments()
  return [
    ...new Set(
      environments
        .filter((one) => webhook.application === null || one.application === webhook.application)
        .map((one) => one.config.source.repository),
    ),
  ]
}

/** A header that comes twice is none that a service sends. */
function single(headers: FastifyRequest['headers']): Headers {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, typeof value === 'string' ? value : undefined]),
  )
}
