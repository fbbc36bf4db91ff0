import * as z from 'zod'
import { releaseSpecSchema, revisionSchema } from './release-spec.ts'

/**
 * What servers keep for everybody who deploys to them from a control plane of their own (a laptop): what is deployed, the
 * history, and who deploys now. Times are epoch milliseconds, of whoever wrote them.
 */

export const sharedDeploymentSchema = z.object({
  id: z.string(),
  number: z.number().int(),
  kind: z.string(),
  state: z.string(),
  requestedBy: z.string(),
  revision: revisionSchema.nullable(),
  /** Ids of releases. */
  release: z.string().nullable(),
  from: z.string().nullable(),
  failure: z.unknown(),
  createdAt: z.number(),
  startedAt: z.number().nullable(),
  finishedAt: z.number().nullable(),
})
export type SharedDeployment = z.infer<typeof sharedDeploymentSchema>

export const sharedRecordSchema = z.object({
  /** Fencing token of the deployment that wrote it. */
  fence: z.number().int().min(0),
  writtenAt: z.number(),
  /** A control plane wrote it, and not a laptop. */
  control: z.boolean().optional(),
  /** Id of the release that the environment is to run. */
  wanted: z.string().nullable(),
  /** The tag of the servers that serve, where two groups take turns. */
  live: z.string().nullable().optional(),
  /** The newest first. */
  deployments: z.array(sharedDeploymentSchema).max(100),
  releases: z.array(z.object({ createdAt: z.number(), spec: releaseSpecSchema })).max(200),
})
export type SharedRecord = z.infer<typeof sharedRecordSchema>

/** Who deploys now, as it is told to others. */
export const sharedHolderSchema = z.object({
  deployment: z.string(),
  number: z.number().int(),
  /** The process: `host:pid:start`. */
  holder: z.string(),
  requestedBy: z.string(),
  state: z.string(),
  since: z.number(),
})
export type SharedHolder = z.infer<typeof sharedHolderSchema>

export const sharedMethods = {
  /**
   * Reads what the server keeps for an environment, and with `take` takes or prolongs its lock for `lease` milliseconds
   * of the server's clock. Granted when the lock is free, expired, this deployment's own, or that of the deployment
   * `over`, whose holder is dead. `give` gives up the lock of a deployment, `force` whoever has it. Only who holds the
   * lock may write the record.
   */
  hold: {
    params: z.object({
      application: z.string(),
      environment: z.string(),
      directory: z.string().startsWith('/'),
      take: z.object({ holder: sharedHolderSchema, lease: z.number(), over: z.string().nullable() }).nullable(),
      give: z.string().nullable(),
      force: z.boolean(),
      record: sharedRecordSchema.nullable(),
      /** When the record was written that the asker has: it is not told again. */
      known: z.number().nullable().optional(),
    }),
    result: z.object({
      granted: z.boolean(),
      /** Who holds it, and for how many milliseconds it still counts without being prolonged. */
      lock: sharedHolderSchema.extend({ left: z.number() }).nullable(),
      /** Highest fencing token that this server has seen. */
      epoch: z.number().int().min(0),
      record: sharedRecordSchema.nullable(),
    }),
    event: z.never(),
  },
} as const
