import * as z from 'zod'
import { deploymentSummarySchema } from '../deployment.ts'
import { environmentSchema } from './environments.ts'
import type { Route } from './route.ts'

/** How the servers of an environment are, in numbers. A server is counted once, where it is worst. */
export const healthSummarySchema = z.object({
  servers: z.number(),
  absent: z.number(),
  /** The service failed, stopped, or could not be asked. */
  sick: z.number(),
  drifted: z.number(),
  /** At most 10 of them. */
  astray: z.array(z.object({ name: z.string(), release: z.number().nullable() })),
  /** Not in the balancer's traffic, though of the servers that serve. */
  out: z.number(),
  /** They answered, and said nothing of their service. */
  unknown: z.number(),
  /** The balancer could not be asked who serves. */
  balancer: z.boolean(),
})
export type HealthSummary = z.infer<typeof healthSummarySchema>

export const overviewEnvironmentSchema = environmentSchema.extend({
  /** Null: its servers have not answered yet. */
  health: healthSummarySchema.nullable(),
  /** The deployment that holds the lock. */
  running: deploymentSummarySchema.nullable(),
  /** Against the environment that production is, or the only other one; null: there is none, or git has not told yet. */
  ahead: z.object({ of: z.string(), ahead: z.number(), behind: z.number() }).nullable(),
})
export type OverviewEnvironment = z.infer<typeof overviewEnvironmentSchema>

export const overviewRoutes = {
  overview: {
    method: 'GET',
    path: '/api/v1/overview',
    summary: 'Every environment with what runs there, how its servers are and what it waits for, in one answer',
    access: 'read',
    reach: 'some',
    response: z.object({ environments: z.array(overviewEnvironmentSchema) }),
  },
} as const satisfies Record<string, Route>
