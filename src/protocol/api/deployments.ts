import * as z from 'zod'
import { deploymentEventSchema, deploymentSchema, deploymentSummarySchema } from '../deployment.ts'
import { nextSchema, pageOf, type Route } from './route.ts'

/** Who it is, where the API knows only that it is somebody on this machine. */
const said = z.strictObject({ requestedBy: z.string().min(1).max(200).optional() }).default({})
const listQuery = z.object({
  application: z.string().optional(),
  environment: z.string().optional(),
  /** Number of the deployment after which to go on. */
  before: z.coerce.number().int().optional(),
  ...pageOf({ most: 200, usual: 20 }),
})
const byNumber = z.object({ number: z.coerce.number().int().positive() })

export const deploymentRoutes = {
  deployments: {
    method: 'GET',
    path: '/api/v1/deployments',
    summary: 'Deployments, the newest first',
    access: 'read',
    etag: true,
    reach: 'some',
    query: listQuery,
    response: z.object({ deployments: z.array(deploymentSchema), next: nextSchema }),
  },
  deploymentSummaries: {
    method: 'GET',
    path: '/api/v1/deployments/summaries',
    summary: 'Deployments without their plans, steps and receipts, the newest first',
    access: 'read',
    etag: true,
    reach: 'some',
    query: listQuery,
    response: z.object({ deployments: z.array(deploymentSummarySchema), next: nextSchema }),
  },
  deploymentDays: {
    method: 'GET',
    path: '/api/v1/deployments/days',
    summary: 'How many deployments each environment had on each of the last days, and how many failed or went back',
    access: 'read',
    etag: true,
    reach: 'some',
    query: z.object({
      days: z.coerce.number().int().min(1).max(366).default(14),
      /** How far the days are east of Greenwich. Minutes. */
      offset: z.coerce
        .number()
        .int()
        .min(-14 * 60)
        .max(14 * 60)
        .default(0),
    }),
    /** `day`: whole days since the epoch, there. Days without any are left out. */
    response: z.object({
      today: z.number(),
      days: z.array(
        z.object({
          application: z.string(),
          environment: z.string(),
          day: z.number(),
          all: z.number(),
          bad: z.number(),
        }),
      ),
    }),
  },
  deployment: {
    method: 'GET',
    path: '/api/v1/deployments/:number',
    summary: 'One deployment',
    access: 'read',
    etag: true,
    params: byNumber,
    response: deploymentSchema,
  },
  deploymentSummary: {
    method: 'GET',
    path: '/api/v1/deployments/:number/summary',
    summary: 'One deployment without its plan, steps and receipt',
    access: 'read',
    etag: true,
    params: byNumber,
    response: deploymentSummarySchema,
  },
  deploymentEvents: {
    method: 'GET',
    path: '/api/v1/deployments/:number/events',
    summary: 'What happened, and live what happens; goes on after Last-Event-ID; ends with the deployment',
    access: 'read',
    params: byNumber,
    query: z.object({ after: z.coerce.number().int().min(0).default(0) }),
    response: deploymentEventSchema,
    stream: 'events',
  },
  deploymentLog: {
    method: 'GET',
    path: '/api/v1/deployments/:number/log',
    summary: 'The stored events of a deployment, in order',
    access: 'read',
    etag: true,
    params: byNumber,
    query: z.object(pageOf({ most: 5_000, usual: 1_000 })),
    response: z.object({ events: z.array(deploymentEventSchema), next: nextSchema }),
  },
  cancel: {
    method: 'POST',
    path: '/api/v1/deployments/:number/cancel',
    summary: 'Stop it; what was switched is switched back',
    access: 'deploy',
    params: byNumber,
    response: deploymentSchema,
  },
  pause: {
    method: 'POST',
    path: '/api/v1/deployments/:number/pause',
    summary: 'Let it stop before its next batch',
    access: 'deploy',
    params: byNumber,
    body: said,
    response: deploymentSchema,
  },
  promote: {
    method: 'POST',
    path: '/api/v1/deployments/:number/promote',
    summary: 'Let it go on where it waits for a person, or was to pause',
    access: 'deploy',
    params: byNumber,
    body: said,
    response: deploymentSchema,
  },
  decide: {
    method: 'POST',
    path: '/api/v1/deployments/:number/approval',
    summary: 'Approve or refuse a deployment that waits for it; not by who asked for it',
    access: 'deploy',
    idempotent: true,
    params: byNumber,
    body: z.strictObject({
      decision: z.enum(['approve', 'refuse']),
      note: z
        .string()
        .trim()
        .max(1_000)
        .regex(/^[^\p{Cc}]*$/u, 'must hold no control characters')
        .default(''),
    }),
    response: deploymentSchema,
  },
} as const satisfies Record<string, Route>
