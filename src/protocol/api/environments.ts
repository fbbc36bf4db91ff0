import * as z from 'zod'
import { serviceStateSchema } from '../agent-messages.ts'
import {
  lockHolderSchema,
  planSchema,
  deploymentSchema,
  deploymentStateSchema,
  deploymentSummarySchema,
  waitingSchema,
} from '../deployment.ts'
import { errorReportSchema } from '../peer.ts'
import { revisionSchema } from '../release-spec.ts'
import { nextSchema, pageOf, type Route } from './route.ts'

const place = z.object({ application: z.string().min(1), environment: z.string().min(1) })

/** `since`: when it was made to run here last. */
const wantedSchema = z.object({ release: z.number(), revision: revisionSchema, since: z.number() }).nullable()

export const environmentSchema = z.object({
  application: z.string(),
  environment: z.string(),
  servers: z.array(z.string()),
  /** What it is meant to run. */
  wanted: wantedSchema,
  lock: lockHolderSchema.nullable(),
  /** For whom the deployment that holds the lock waits; null: for nobody. */
  waiting: waitingSchema.nullable().default(null),
  /** Deployments that wait until another person approves them, the oldest first. */
  awaiting: z
    .array(
      z.object({
        number: z.number(),
        requestedBy: z.string(),
        createdAt: z.number(),
        revision: revisionSchema.nullable(),
      }),
    )
    .default([]),
  /** The branch that it follows; null: the default branch of its source. */
  branch: z.string().nullable().default(null),
  /** A deployment waits until another person approves it. */
  protected: z.boolean().default(false),
  /** The tag of the servers that serve, where two groups take turns (blue-green); null: all do. */
  live: z.string().nullable().default(null),
  /**
   * Servers were ahead of what this control plane knew: what they run was taken over, and nothing converges by itself until a person has looked. `next`: the
   * command that ends this; a deployment that succeeds does too. Null: all is known.
   */
  takenOver: z.object({ since: z.number(), text: z.string(), next: z.string() }).nullable().default(null),
  /** Numbers of the latest deployment and its state. */
  last: z.object({ number: z.number(), state: z.string(), finishedAt: z.number().nullable() }).nullable(),
  /** The latest deployment that is over, with what users noticed. */
  ended: deploymentSummarySchema
    .pick({ number: true, state: true, startedAt: true, finishedAt: true, receipt: true })
    .nullable()
    .default(null),
})
export type EnvironmentSummary = z.infer<typeof environmentSchema>

export const serverStatusSchema = z.object({
  name: z.string(),
  tags: z.record(z.string(), z.string()),
  connected: z.boolean(),
  lastSeenAt: z.number().nullable(),
  /** When release and service were so: now, or where nobody answers when it was last seen; null: it never was. */
  observedAt: z.number().nullable().default(null),
  release: z.number().nullable(),
  service: serviceStateSchema.nullable(),
  /** Runs something else than the environment wants. */
  drifted: z.boolean(),
  /** It is of the group that does not serve (blue-green): it keeps the release before, out of traffic. */
  idle: z.boolean().default(false),
  /** As the balancer sees it; null without a balancer or when it cannot be read. */
  traffic: z
    .object({ admission: z.enum(['ready', 'draining', 'out']), up: z.boolean(), inFlight: z.number() })
    .nullable(),
  problem: errorReportSchema.nullable(),
})
export type ServerStatus = z.infer<typeof serverStatusSchema>

export const statusSchema = environmentSchema
  .omit({ servers: true })
  .extend({ servers: z.array(serverStatusSchema), balancerProblem: errorReportSchema.nullable() })
export type Status = z.infer<typeof statusSchema>

export const releaseSchema = z.object({
  number: z.number(),
  artifact: z.string(),
  revision: revisionSchema,
  createdAt: z.number(),
  wanted: z.boolean(),
  /** Whether a deployment to it ever succeeded here. Left out: an older control plane answered. */
  served: z.boolean().optional(),
  /** The latest deployment to it, and how it ended or where it stands; null: none is known. */
  last: z.object({ number: z.number(), state: deploymentStateSchema }).nullable().default(null),
})
export type ReleaseSummary = z.infer<typeof releaseSchema>

export const readinessSchema = z.object({
  number: z.number(),
  /** How many servers keep it: going to it sends no file there. */
  ready: z.number(),
  /** Servers that answered and do not keep it, at most 20 of them; `bytes`: of the files that would be sent, before compression; null: not counted, or not known any more. */
  lacking: z.array(z.object({ server: z.string(), bytes: z.number().nullable() })),
  lackingServers: z.number(),
})
export type ReleaseReadiness = z.infer<typeof readinessSchema>

/** What another environment of the application runs: the same artifact, with the variables and secrets of this one. */
const promotion = z.strictObject({
  environment: z.string().min(1).max(200),
  /** Its release; by default the one that it is meant to run. */ release: z.number().int().positive().optional(),
})
const deployBody = z.strictObject({
  /** Branch, tag or commit; by default the environment's branch. */
  revision: z.string().min(1).max(500).optional(),
  /** Digest of an uploaded artifact, instead of a revision. */
  artifact: z.string().optional(),
  /** Another environment's release, instead of a revision. */
  promote: promotion.optional(),
  /** Wait for the lock instead of failing. */
  wait: z.boolean().default(false),
  /** Deploy although a server could not be switched back: nobody has the secrets of the release that it runs. */
  noWayBack: z.boolean().optional(),
  requestedBy: z.string().max(200).optional(),
})
/** `exact`: as they travel, compressed; else the files' own size, which is more. */
const transferSchema = z.object({ objects: z.number(), bytes: z.number(), exact: z.boolean() })
const rollbackBody = z.strictObject({
  /** Release number; by default the one before. */
  release: z.number().int().positive().optional(),
  wait: z.boolean().default(false),
  /** Deploy although a server could not be switched back: nobody has the secrets of the release that it runs. */
  noWayBack: z.boolean().optional(),
  requestedBy: z.string().max(200).optional(),
})

export const environmentRoutes = {
  environments: {
    method: 'GET',
    path: '/api/v1/environments',
    summary: 'Every environment: what runs where',
    access: 'read',
    etag: true,
    reach: 'some',
    response: z.object({ environments: z.array(environmentSchema) }),
  },
  status: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment',
    summary:
      'One environment with its servers, asked now; or, without a change since, at most so many milliseconds ago (within)',
    access: 'read',
    etag: true,
    params: place,
    query: z.object({ within: z.coerce.number().int().min(0).max(60_000).default(0) }),
    response: statusSchema,
  },
  plan: {
    method: 'POST',
    path: '/api/v1/environments/:application/:environment/plan',
    summary: 'What a deployment would do; changes nothing',
    access: 'read',
    audited: false,
    params: place,
    body: z.strictObject({ revision: z.string().min(1).max(500).optional(), promote: promotion.optional() }),
    response: z.object({
      plan: planSchema,
      revision: revisionSchema,
      commitsAhead: z.array(revisionSchema),
      /** What runs now and would not any more, the newest first, at most 50. */
      commitsLost: z.array(revisionSchema).default([]),
      problems: z.array(errorReportSchema),
      /** Whether its artifact is there already. */
      built: z.boolean().default(false),
      /** What a server that runs what the environment wants now has to be sent; null: not known before it is built. */
      transfer: transferSchema.nullable().default(null),
      balancer: z.string().default('none'),
      protected: z.boolean().default(false),
      /** How long deployments here usually take: the median of the last that succeeded. Milliseconds. */
      usualMs: z.number().nullable().default(null),
      /** The quickest and the slowest of the same. Milliseconds. */
      usualRange: z.object({ least: z.number(), most: z.number() }).nullable().default(null),
      promoted: z.object({ environment: z.string(), release: z.number() }).nullable().default(null),
    }),
  },
  deploy: {
    method: 'POST',
    path: '/api/v1/environments/:application/:environment/deployments',
    summary: 'Deploy a revision',
    access: 'deploy',
    idempotent: true,
    params: place,
    body: deployBody,
    response: deploymentSchema,
  },
  rollback: {
    method: 'POST',
    path: '/api/v1/environments/:application/:environment/rollback',
    summary: 'Activate an earlier release',
    access: 'deploy',
    idempotent: true,
    params: place,
    body: rollbackBody,
    response: deploymentSchema,
  },
  unlock: {
    method: 'DELETE',
    path: '/api/v1/environments/:application/:environment/lock',
    summary: 'Open the lock by force; its holder is refused from then on',
    access: 'deploy',
    params: place,
    response: z.object({ held: lockHolderSchema.nullable() }),
  },
  converge: {
    method: 'POST',
    path: '/api/v1/environments/:application/:environment/converge',
    summary:
      'Bring the connected servers that run something else to what the environment is meant to run; null: all run it',
    access: 'deploy',
    params: place,
    body: z.strictObject({ requestedBy: z.string().max(200).optional() }).default({}),
    response: z.object({ deployment: z.number().nullable() }),
  },
  ahead: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment/ahead',
    summary: 'How many commits an environment has that another of the application has not, and the other way round',
    access: 'read',
    params: place,
    query: z.object({ of: z.string().min(1).max(200) }),
    /** At most 50 each; null: git cannot tell. */
    response: z.object({ ahead: z.number().nullable(), behind: z.number().nullable() }),
  },
  releases: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment/releases',
    summary: 'Releases, the newest first',
    access: 'read',
    etag: true,
    params: place,
    query: z.object(pageOf({ most: 500, usual: 30 })),
    response: z.object({ releases: z.array(releaseSchema), next: nextSchema }),
  },
  releaseReadiness: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment/readiness',
    summary: 'On which servers the newest releases are ready to be activated, asked now; and what the others lack',
    access: 'read',
    params: place,
    query: z.object({ limit: z.coerce.number().int().min(1).max(200).default(30) }),
    response: z.object({
      /** Of the environment; and how many of them answered. */ servers: z.number(),
      answering: z.number(),
      /** Some of those that did not. */ silent: z.array(z.string()),
      releases: z.array(readinessSchema),
    }),
  },
  logs: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment/logs',
    summary: 'What the application prints, from all servers',
    access: 'read',
    params: place,
    query: z.object({
      lines: z.coerce.number().int().min(0).max(10_000).default(50),
      follow: z.enum(['true', 'false']).default('false'),
      server: z.string().optional(),
      since: z.coerce.number().int().min(0).optional(),
      grep: z.string().max(1_000).optional(),
    }),
    response: z.object({ server: z.string(), at: z.number().nullable(), text: z.string() }),
    stream: 'events',
  },
} as const satisfies Record<string, Route>
