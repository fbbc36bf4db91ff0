import * as z from 'zod'
import type { Route } from './route.ts'

/** Services that tell of pushes. `gitea`: Forgejo too. `bitbucket`: Cloud and Data Center. */
export const webhookServiceSchema = z.enum(['github', 'gitlab', 'bitbucket', 'gitea'])
export type WebhookService = z.infer<typeof webhookServiceSchema>

/** What came of a delivery for one environment. */
export const deliveryResultSchema = z.object({
  application: z.string(),
  environment: z.string(),
  /** Number of the deployment that it started; null: none. */
  deployment: z.number().nullable(),
  /** Why none was started; empty if one was. */
  reason: z.string(),
})
export type DeliveryResult = z.infer<typeof deliveryResultSchema>

/** A message from a service, whose signature was right. */
export const deliverySchema = z.object({
  id: z.string(),
  /** As the service numbers it: one that comes twice is done once. */
  delivery: z.string(),
  event: z.string(),
  /** Epoch milliseconds. */
  receivedAt: z.number(),
  /** `waiting`: taken, and not looked at yet. `ignored`: nothing to do, for `reason`. `failed`: `reason` says why. */
  state: z.enum(['waiting', 'done', 'ignored', 'failed']),
  reason: z.string(),
  repository: z.string().nullable(),
  /** Who had it worked through once more; null: it came from the service. */
  againBy: z.string().nullable().default(null),
  branches: z.array(z.string()),
  results: z.array(deliveryResultSchema),
})
export type Delivery = z.infer<typeof deliverySchema>

export const webhookSchema = z.object({
  id: z.string(),
  service: webhookServiceSchema,
  note: z.string(),
  /** Only its environments are deployed to; null: those of all applications whose source is the repository. */
  application: z.string().nullable(),
  /** Only these environments; null: all. */
  environments: z.array(z.string()).nullable(),
  /** What the service is given as address; the part after the host where that is not known. */
  url: z.string(),
  createdAt: z.number(),
  createdBy: z.string(),
  /** The newest one. */
  last: deliverySchema.nullable(),
})
export type Webhook = z.infer<typeof webhookSchema>

const byId = z.object({ webhook: z.string().regex(/^whk_[a-z0-9]{1,60}$/, 'must be the id of a webhook') })
const branchName = z
  .string()
  .min(1)
  .max(500)
  .regex(/^[^\s\0]+$/, 'must be the name of a branch')

/** Webhooks: a service tells of a push, and environments are deployed to. Their secrets are shown once. */
export const webhookRoutes = {
  webhooks: {
    method: 'GET',
    path: '/api/v1/webhooks',
    summary: 'Webhooks, each with what came last, never with its secret',
    access: 'administer',
    response: z.object({ webhooks: z.array(webhookSchema) }),
  },
  addWebhook: {
    method: 'POST',
    path: '/api/v1/webhooks',
    summary: 'Make a webhook; its secret is answered this once',
    access: 'administer',
    idempotent: true,
    body: z.strictObject({
      service: webhookServiceSchema,
      note: z.string().trim().max(200).default(''),
      application: z.string().min(1).max(200).nullable().default(null),
      environments: z.array(z.string().min(1).max(200)).min(1).max(100).nullable().default(null),
      /** The service's own secret; by default one is made. */
      secret: z
        .string()
        .min(16)
        .max(500)
        .regex(/^[\x21-\x7e]+$/, 'must be printable, without spaces')
        .optional(),
    }),
    response: z.object({ webhook: webhookSchema, secret: z.string() }),
  },
  removeWebhook: {
    method: 'DELETE',
    path: '/api/v1/webhooks/:webhook',
    summary: 'Remove a webhook; what is sent to its address is refused from then on',
    access: 'administer',
    params: byId,
    response: z.object({}),
  },
  deliveries: {
    method: 'GET',
    path: '/api/v1/webhooks/:webhook/deliveries',
    summary: 'What a service sent and what came of it, the newest first',
    access: 'administer',
    params: byId,
    query: z.object({ limit: z.coerce.number().int().min(1).max(200).default(20) }),
    response: z.object({ deliveries: z.array(deliverySchema) }),
  },
  redeliver: {
    method: 'POST',
    path: '/api/v1/webhooks/:webhook/deliveries/:delivery/redeliver',
    summary: 'Work through what a service sent once more, as if it came now; in the name of who asks',
    access: 'administer',
    idempotent: true,
    params: byId.extend({ delivery: z.string().regex(/^dlv_[a-z0-9]{1,60}$/, 'must be the id of a delivery') }),
    response: deliverySchema,
  },
  testWebhook: {
    method: 'POST',
    path: '/api/v1/webhooks/:webhook/test',
    summary: 'What a push to a branch would start; starts nothing',
    access: 'administer',
    audited: false,
    params: byId,
    body: z.strictObject({
      branch: branchName,
      /** A git URL; by default the source of the applications. */ repository: z
        .string()
        .min(1)
        .max(2_000)
        .nullable()
        .default(null),
    }),
    response: z.object({
      results: z.array(
        z.object({
          application: z.string(),
          environment: z.string(),
          deploys: z.boolean(),
          /** Why, or why not. */ reason: z.string(),
        }),
      ),
    }),
  },
  /** The address that a service is given. Its signature says who calls; see docs/webhooks.md. */
  receiveDelivery: {
    method: 'POST',
    path: '/api/v1/webhooks/:webhook/deliveries',
    summary: 'Where GitHub, GitLab, Bitbucket, Gitea and Forgejo tell of pushes; signed with the webhook’s secret',
    access: 'open',
    audited: false,
    params: byId,
    stream: 'bytes',
    response: z.object({
      delivery: z.string().nullable(),
      state: z.enum(['accepted', 'ignored', 'known']),
      reason: z.string(),
    }),
  },
} as const satisfies Record<string, Route>
