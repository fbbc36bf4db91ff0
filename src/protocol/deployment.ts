import * as z from 'zod'
import { errorReportSchema } from './peer.ts'
import { spanSchema } from './agent-messages.ts'
import { receiptSchema, verdictSchema } from './receipt.ts'
import { revisionSchema } from './release-spec.ts'

/** Where a deployment stands. The transitions between these are in control/deploy/states.ts. */
export const deploymentStateSchema = z.enum([
  'waiting_for_approval',
  'queued',
  'resolving',
  'building',
  'staging',
  'committing',
  'activating',
  'baking',
  'succeeded',
  'rolling_back',
  'rolled_back',
  'failed',
  'cancelled',
])
export type DeploymentState = z.infer<typeof deploymentStateSchema>

/** Where one server stands in a deployment. */
export const stepStateSchema = z.enum([
  'pending',
  'staging',
  'staged',
  'draining',
  'activating',
  'registering',
  'switched',
  'reverting',
  'reverted',
  'failed',
  'quarantined',
  'unreachable',
  'unchanged',
])
export type StepState = z.infer<typeof stepStateSchema>

export const deploymentKindSchema = z.enum(['deploy', 'rollback', 'converge'])
export type DeploymentKind = z.infer<typeof deploymentKindSchema>

/** Whether a server answers users, as its balancer says. */
export const trafficStateSchema = z.enum(['serving', 'down', 'out'])
export type TrafficState = z.infer<typeof trafficStateSchema>

/** What will be done, as a value: printed by `dploy plan`, shown by the pages, executed by the runner, asserted in tests. */
export const planSchema = z.object({
  kind: deploymentKindSchema,
  application: z.string(),
  environment: z.string(),
  /** Number of the release to run; null while it is not made yet. */
  release: z.number().nullable(),
  /** The release that the environment wants now; null before the first deployment. */
  from: z.number().nullable(),
  stage: z.array(z.object({ server: z.string(), from: z.number().nullable(), already: z.boolean() })),
  /** The server on which the release command runs; null if there is none. */
  releaseCommand: z.object({ server: z.string(), command: z.string() }).nullable(),
  /** Servers that switch together, batch after batch. Does not hold those that already run the release. */
  batches: z.array(z.array(z.string())),
  /** Servers that already run the release. */
  unchanged: z.array(z.string()),
  /** Servers out of reach that the strategy allows to be left for later. */
  unreachable: z.array(z.string()),
  /** What the balancer said of each server when the plan was made: `down` gets nothing since its check fails, `out` was taken out. Left out: it was not asked, or cannot tell. */
  traffic: z.record(z.string(), trafficStateSchema).optional(),
  /** Servers that somebody else took out of traffic: they get the release, and stay out. */
  leftOut: z.array(z.string()).optional(),
  /** The new release takes over beside the old one: every server boots it before the commit point, and none is drained. */
  warm: z.boolean().optional(),
  /**
   * Blue-green: which group served (null: no strategy of groups had switched yet), which will, and the servers that enter the
   * traffic and leave it at the switch. The batch is activated before, out of traffic.
   */
  groups: z
    .object({ live: z.string().nullable(), next: z.string(), enter: z.array(z.string()), leave: z.array(z.string()) })
    .nullable()
    .optional(),
  /** What is done for each server of a batch, in order. */
  perServer: z.array(z.enum(['drain', 'activate', 'register'])),
  /** The first batch is judged for so long (milliseconds), by what its servers answer and the others: see docs/canary.md. `traffic`: the share (0 to 1) that it gets meanwhile; null: what its number brings. */
  canary: z
    .object({
      duration: z.number(),
      traffic: z.number().nullable().optional(),
      queries: z.array(z.string()).optional(),
      inconclusive: z.enum(['continue', 'ask', 'roll_back']),
    })
    .nullable()
    .optional(),
  /** What lies between two batches: how long the ones before must keep serving (milliseconds), and whether a person lets it go on. `before`: a batch, from 0. */
  gates: z
    .array(
      z.object({
        before: z.number(),
        after: z.enum(['canary', 'group', 'batch']),
        bake: z.number(),
        person: z.boolean(),
      }),
    )
    .default([]),
  /** Milliseconds. */
  bakeBatch: z.number(),
  bake: z.number(),
  warnings: z.array(z.string()),
})
export type Plan = z.infer<typeof planSchema>

/** For whom a deployment waits in the middle, and why. Times are epoch milliseconds. */
export const waitingSchema = z.object({
  /** `asked`: somebody paused it; `inconclusive`: too little was seen of the canary; else what dploy.yml says. */
  reason: z.enum(['canary', 'group', 'batch', 'inconclusive', 'asked']),
  text: z.string(),
  /** The batch (from 0) that does not begin before. */
  before: z.number(),
  since: z.number(),
  /** When it goes back by itself. */
  until: z.number(),
})
export type Waiting = z.infer<typeof waitingSchema>

export const lockHolderSchema = z.object({
  deployment: z.string(),
  number: z.number(),
  kind: deploymentKindSchema,
  holder: z.string(),
  requestedBy: z.string(),
  state: deploymentStateSchema,
  since: z.number(),
  expires: z.number(),
})
export type LockHolder = z.infer<typeof lockHolderSchema>

export const stepSchema = z.object({
  server: z.string(),
  batch: z.number().nullable(),
  state: stepStateSchema,
  /** Relative to the deployment's start, milliseconds. */
  spans: z.array(spanSchema),
  bytes: z.number(),
  objects: z.number(),
  failure: errorReportSchema.nullable(),
})
export type Step = z.infer<typeof stepSchema>

/** What another person said to a deployment of a protected environment. Times are epoch milliseconds. */
export const approvalSchema = z.object({
  /** `waiting`: nobody has said anything yet; it ends by itself at `expiresAt`. */
  decision: z.enum(['waiting', 'approve', 'refuse', 'expired']),
  expiresAt: z.number(),
  by: z.string().nullable(),
  at: z.number().nullable(),
  note: z.string(),
  /** Who asked, who may not approve: a person's id, however they asked; null: an older dploy took it. */
  requester: z.string().nullable().default(null),
})
export type Approval = z.infer<typeof approvalSchema>

export const deploymentSchema = z.object({
  id: z.string(),
  number: z.number(),
  application: z.string(),
  environment: z.string(),
  kind: deploymentKindSchema,
  state: deploymentStateSchema,
  requestedBy: z.string(),
  createdAt: z.number(),
  startedAt: z.number().nullable(),
  finishedAt: z.number().nullable(),
  revision: revisionSchema.nullable(),
  release: z.number().nullable(),
  from: z.number().nullable(),
  plan: planSchema.nullable(),
  failure: errorReportSchema.nullable(),
  steps: z.array(stepSchema),
  receipt: receiptSchema.nullable(),
  /** Null: it needs none. */
  approval: approvalSchema.nullable().default(null),
  /** Null: it does not wait for a person in the middle. */
  waiting: waitingSchema.nullable().default(null),
  /** Who asked it to pause before its next batch. */
  pausedBy: z.string().nullable().default(null),
})
export type Deployment = z.infer<typeof deploymentSchema>

/** A deployment without what grows with its servers: for lists and heads of pages. */
export const deploymentSummarySchema = deploymentSchema.omit({ plan: true, steps: true, receipt: true }).extend({
  /** How far it is, once it has a plan and until it is over: servers in batches, those that are done, the batch (from 0) at which it is. */
  progress: z.object({ servers: z.number(), done: z.number(), batch: z.number(), batches: z.number() }).nullable(),
  /** What users noticed; null: there is no receipt yet. */
  receipt: z
    .object({
      source: receiptSchema.shape.traffic.shape.source,
      seen: z.number(),
      failed: z.number(),
      stalled: z.number(),
      /** Left out in receipts from before there was one. */
      verdict: verdictSchema.optional(),
    })
    .nullable(),
})
export type DeploymentSummary = z.infer<typeof deploymentSummarySchema>

/** What happened in a deployment, in order; `seq` grows over the whole control plane. */
export const deploymentEventSchema = z.object({
  seq: z.number(),
  deployment: z.string(),
  at: z.number(),
  /** When it was stored. */
  stored: z.number().optional(),
  server: z.string().nullable(),
  data: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('state'), state: deploymentStateSchema, failure: errorReportSchema.nullable() }),
    z.object({
      kind: z.literal('step'),
      state: stepStateSchema,
      batch: z.number().nullable(),
      failure: errorReportSchema.nullable(),
    }),
    z.object({ kind: z.literal('progress'), phase: z.string() }),
    z.object({ kind: z.literal('note'), text: z.string() }),
    z.object({ kind: z.literal('output'), source: z.string(), stream: z.enum(['stdout', 'stderr']), text: z.string() }),
    z.object({ kind: z.literal('plan'), plan: planSchema }),
    /** It waits for a person, or (null) goes on because of one. */
    z.object({ kind: z.literal('waiting'), waiting: waitingSchema.nullable(), by: z.string().nullable() }),
    z.object({
      kind: z.literal('traffic'),
      seen: z.number(),
      failed: z.number(),
      stalled: z.number(),
      slowestMs: z.number(),
    }),
    z.object({ kind: z.literal('receipt'), receipt: receiptSchema }),
  ]),
})
export type DeploymentEvent = z.infer<typeof deploymentEventSchema>
export type DeploymentEventData = DeploymentEvent['data']
