import * as z from 'zod'
import { stepStateSchema, deploymentKindSchema, deploymentStateSchema } from '../deployment.ts'
import { machineSchema } from '../machine.ts'
import { errorReportSchema } from '../peer.ts'
import { revisionSchema } from '../release-spec.ts'
import { nextSchema, pageOf, type Route } from './route.ts'

/** How servers are and were, and what was done to each. */

const place = z.object({ application: z.string().min(1), environment: z.string().min(1) })

/** How a server's machine was when its agent told it last; null where nothing was told in the last two minutes. */
export const machineNowSchema = z.object({ at: z.number(), machine: machineSchema }).nullable()

export const serverHealthSchema = z.object({
  name: z.string(),
  /** Whether the service answers its own health check; null where nobody can say. */
  healthy: z.boolean().nullable(),
  /** What the check found. */
  detail: z.string().nullable(),
})
export type ServerHealth = z.infer<typeof serverHealthSchema>

/** Parts in use, 0 to 1, at times in epoch milliseconds, the oldest first. */
export const serverVitalsSchema = z.object({
  name: z.string(),
  now: machineNowSchema,
  at: z.array(z.number()),
  cpu: z.array(z.number().nullable()),
  memory: z.array(z.number()),
  disk: z.array(z.number()),
})
export type ServerVitals = z.infer<typeof serverVitalsSchema>

/** What one deployment did on a server. Times are epoch milliseconds. */
export const serverStepSchema = z.object({
  deployment: z.number(),
  kind: deploymentKindSchema,
  /** How the deployment stands. */
  state: deploymentStateSchema,
  /** How this server stands in it. */
  step: stepStateSchema,
  release: z.number().nullable(),
  revision: revisionSchema.nullable(),
  requestedBy: z.string(),
  startedAt: z.number().nullable(),
  finishedAt: z.number().nullable(),
  /** Compressed, as they were sent to this server. */
  bytes: z.number(),
  /** Milliseconds that its steps took: staged, switched, put back. */
  ms: z.number(),
  failure: errorReportSchema.nullable(),
})
export type ServerStep = z.infer<typeof serverStepSchema>

export const vitalsRoutes = {
  serversHealth: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment/health',
    summary: 'Whether the service on each server answers its health check, asked now',
    access: 'read',
    params: place,
    response: z.object({ servers: z.array(serverHealthSchema) }),
  },
  vitals: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment/vitals',
    summary: 'How busy and how full servers were in the last hour; kept in memory, and anew after a restart',
    access: 'read',
    params: place,
    query: z.object({
      /** Only of this server. */ server: z.string().min(1).max(200).optional(),
      /** How many samples of each at most. */ points: z.coerce.number().int().min(1).max(120).default(30),
    }),
    response: z.object({ servers: z.array(serverVitalsSchema) }),
  },
  serverHistory: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment/servers/:server/history',
    summary: 'What was deployed to a server, the newest first',
    access: 'read',
    params: place.extend({ server: z.string().min(1).max(200) }),
    query: z.object(pageOf({ most: 200, usual: 20 })),
    response: z.object({ steps: z.array(serverStepSchema), next: nextSchema }),
  },
} as const satisfies Record<string, Route>
