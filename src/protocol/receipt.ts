import * as z from 'zod'
import { spanSchema } from './agent-messages.ts'
import { causeIds } from './causes.ts'

/**
 * The receipt of a deployment: what its users noticed, and where each second went. Complete by itself: a page, a
 * terminal or another program shows it without asking for anything else. All times are milliseconds, and relative to
 * the deployment's start unless they say epoch.
 */

/** What all servers of a deployment do together, in this order; `roll_back` comes after the phase that failed. */
export const phaseNameSchema = z.enum([
  'resolve',
  'build',
  'publish',
  'stage',
  'commit',
  'activate',
  'bake',
  'roll_back',
])
export type PhaseName = z.infer<typeof phaseNameSchema>

/**
 * What the time of a span is, by the span's name. Names that are not here are dploy's own work, and so overhead.
 *
 * | kind | the time of | is |
 * |---|---|---|
 * | `transfer` | missing objects on their way (missing bytes / bandwidth) | floor |
 * | `unpack` | making a verified release directory of them | floor |
 * | `switch` | ending the old processes, moving `current` | floor |
 * | `boot` | starting the service until it accepts connections | floor |
 * | `health` | asking until it is healthy | floor |
 * | `in_flight` | waiting in a drain while the balancer reports requests in flight | waiting |
 * | `bake` | watching the new release | waiting |
 * | `command` | commands of the person: build, hooks, release command | waiting |
 *
 * A `drain` around an `in_flight` is overhead for the rest of its time: what the balancer and dploy need to notice.
 * A name may carry where it belongs before a dot: `stage.fetch` is a `fetch`.
 */
export const spanKinds = {
  fetch: 'transfer',
  unpack: 'unpack',
  stop: 'switch',
  switch: 'switch',
  boot: 'boot',
  health: 'health',
  in_flight: 'in_flight',
  bake: 'bake',
  build_command: 'command',
  release_command: 'command',
  after_stage: 'command',
  before_activate: 'command',
  after_activate: 'command',
} as const satisfies Record<string, SpanKind>
export type SpanKind = 'transfer' | 'unpack' | 'switch' | 'boot' | 'health' | 'in_flight' | 'bake' | 'command'

/** What the time of a span with this name is; null: dploy's own work. */
export function spanKind(name: string): SpanKind | null {
  const own = name.slice(name.lastIndexOf('.') + 1)
  return Object.hasOwn(spanKinds, own) ? spanKinds[own as keyof typeof spanKinds] : null
}

/**
 * The fastest that this deployment could have been: of its critical path, the time that no tool can save. Each part is
 * the sum of the path's spans of that kind (`spanKinds`), so that a rolling deployment's floor has one switch, boot and
 * health check per batch: those of the batch's slowest server. `roundTrip` is one measured round trip of the connection
 * for each time that the path enters a server, at most the path's time there that no span explains.
 */
const floorSchema = z.object({
  ms: z.number(),
  parts: z.object({
    roundTrip: z.number(),
    transfer: z.number(),
    unpack: z.number(),
    switch: z.number(),
    boot: z.number(),
    health: z.number(),
  }),
})

/** Time on the critical path that was spent on purpose: neither the floor's nor dploy's. */
const waitingSchema = z.object({
  ms: z.number(),
  parts: z.object({ inFlight: z.number(), bake: z.number(), commands: z.number() }),
})

/** How a server came out. `skipped`: the deployment ended before its turn. `unchanged`: it already ran the release. */
export const serverOutcomeSchema = z.enum(['switched', 'reverted', 'failed', 'skipped', 'unchanged', 'unreachable'])
export type ServerOutcome = z.infer<typeof serverOutcomeSchema>

const serverSchema = z.object({
  name: z.string(),
  /** From 0; null if it was in no batch. */
  batch: z.number().nullable(),
  outcome: serverOutcomeSchema,
  /** May lie inside one another: the innermost is what the server did at that time. */
  spans: z.array(spanSchema),
  /** Bytes sent to it for this release, as they travelled. */
  bytes: z.number(),
  objects: z.number(),
})
export type ReceiptServer = z.infer<typeof serverSchema>

/** A piece of the critical path: what the deployment could not end without. `server` null: the control plane. */
const pieceSchema = z.object({ server: z.string().nullable(), name: z.string(), start: z.number(), ms: z.number() })
export type CriticalPiece = z.infer<typeof pieceSchema>

/** What ran on servers at a time: so many (`count`) were in this span; at most five are named. Count 0: a phase. */
const duringSchema = z.object({ name: z.string(), servers: z.array(z.string()), count: z.number() })
export type During = z.infer<typeof duringSchema>

/** A request that a user would have noticed. */
const noticedSchema = z.object({
  /** When it was sent. */
  at: z.number(),
  /** Until its answer was complete, or until it failed. */
  ms: z.number(),
  what: z.enum(['failed', 'stalled']),
  status: z.number().nullable(),
  /** What went wrong when there was no (complete) answer. */
  error: z.string().nullable(),
  /** What ran when it was sent, the most likely cause first. */
  during: z.array(duringSchema),
  /** Why, by the receipt's causes; null in receipts from before there were any. */
  cause: z.enum(causeIds).nullable().default(null),
  /** Which server answered, or was asked, as far as anybody says so or only one can be meant. */
  server: z.string().nullable().default(null),
  method: z.enum(['GET', 'POST']).default('GET'),
  connection: z.enum(['kept', 'fresh']).default('fresh'),
  /** What the balancer's log says of it, for people; null: nothing, or there is no log. */
  logged: z.string().nullable().default(null),
})
export type NoticedRequest = z.infer<typeof noticedSchema>

/** What the balancer counted between start and end, of all its users' requests and the probe's own. */
const balancerCountsSchema = z.object({
  requests: z.number(),
  serverErrors: z.number(),
  connectionErrors: z.number(),
  responseErrors: z.number(),
  retries: z.number(),
  redispatches: z.number(),
  /** It was started again in between and began from zero: the counts are a lower bound. */
  restarted: z.boolean(),
})
export type BalancerCounts = z.infer<typeof balancerCountsSchema>

/** Requests of users, the probe's own among them, and how many failed: an answer of 500 to 599, or none. */
const countedSchema = z.object({ requests: z.number(), failed: z.number() })
export type Counted = z.infer<typeof countedSchema>

/**
 * What the balancer counted by server, and so by release: what each server ran in that moment. Read four times a second
 * and at each switch.
 */
const usersSchema = z.object({
  /** Answered by the release that served before; by the one that is deployed; by servers in the middle of a switch. */
  old: countedSchema,
  new: countedSchema,
  switching: countedSchema,
  /** At these servers since the balancer started, until the deployment began: the application's usual share of errors. */
  before: countedSchema,
  /** Why the new release counts as worse than the one before; null: nothing says so. */
  worse: z.string().nullable(),
  timeline: z.object({
    every: z.number(),
    points: z.array(
      z.object({
        at: z.number(),
        old: z.number(),
        oldFailed: z.number(),
        new: z.number(),
        newFailed: z.number(),
      }),
    ),
  }),
})
export type UserTraffic = z.infer<typeof usersSchema>

/**
 * What users noticed. *Noticed* means failed or stalled.
 *
 * *Failed*: no connection, no complete answer within ten seconds, an answer of 500 to 599; an answer of 400 to 499 too,
 * unless that is what the address usually answers (a probe of a page that asks for sign-in).
 *
 * *Stalled*: answered, but 250 ms or more over the usual. The usual is the median of the good answers to requests sent
 * before anything was drained or switched, when there are ten, else of all good answers. A request that a balancer
 * tried again until it succeeded is found by this: it waited for a second or more.
 *
 * `source` says whose counts `seen`, `failed` and `stalled` are. `probe`: requests that dploy sent itself, every one
 * timed. `balancer`: there was no probe; failed are the answers of 500 to 599, the application's own among them, and
 * stalled is what the balancer tried again, each of which may have waited. `none`: nobody looked.
 */
const trafficSchema = z.object({
  source: z.enum(['probe', 'balancer', 'none']),
  seen: z.number(),
  failed: z.number(),
  stalled: z.number(),
  /** First deployment only: requests sent before anything answered. They are in no other count. */
  unserved: z.number(),
  /** The longest that a request of the probe took to be answered or to fail; null where nobody measured. */
  slowestMs: z.number().nullable(),
  usualMs: z.number().nullable(),
  /** Of answers, whatever their status. */
  p50: z.number().nullable(),
  p99: z.number().nullable(),
  /** In order of time; the first 200 at most. */
  noticed: z.array(noticedSchema),
  balancer: balancerCountsSchema.nullable(),
  /** Null where the balancer does not count by server, and in receipts from before it was read. */
  users: usersSchema.nullable().default(null),
  /** The same over time, for the time axis: each point covers `every` ms from `at`; empty points are left out. */
  timeline: z.object({
    every: z.number(),
    points: z.array(
      z.object({ at: z.number(), seen: z.number(), failed: z.number(), stalled: z.number(), slowestMs: z.number() }),
    ),
  }),
})
export type Traffic = z.infer<typeof trafficSchema>

/** What to change, as lines to paste. `where` says into which file or place they go. */
const suggestionSchema = z.object({
  text: z.string(),
  where: z.enum(['dploy.yml', 'balancer', 'application']),
  lines: z.array(z.string()),
})
export type Suggestion = z.infer<typeof suggestionSchema>

/** Why users noticed, or why it took long; what it means stands in protocol/causes.ts. */
const causeSchema = z.object({
  id: z.enum(causeIds),
  /** Where; empty: on no server in particular. */
  servers: z.array(z.string()),
  /** The step in which it happened: the name of a span or a phase; null: none. */
  step: z.string().nullable(),
  /** Requests that it explains, of those in `traffic.noticed`; 0 where only time was lost. */
  requests: z.number(),
  /** Time that it cost the deployment, where it did. Milliseconds. */
  ms: z.number().nullable(),
  /** What was seen that says so. */
  evidence: z.array(z.string()),
  suggestion: suggestionSchema,
})
export type Cause = z.infer<typeof causeSchema>

/** What had to be cut so that a server could switch: `when` says whether its drain's time was up, or the release before had been told to end. */
const cutSchema = z.object({
  server: z.string(),
  /** Requests in flight, or connections; null: some may have been, and the balancer does not say how many. */
  count: z.number().nullable(),
  when: z.enum(['drain', 'stop']),
})
export type Cut = z.infer<typeof cutSchema>

/** The share of servers in traffic, 0 to 1: at the worst moment, and on average over the deployment. */
const capacitySchema = z.object({ least: z.number(), mean: z.number() })

/** What the deployment says of its users in a sentence; made by protocol/verdict.ts of all that was measured. */
export const verdictSchema = z.object({
  kind: z.enum(['unnoticed', 'noticed', 'worse', 'usual', 'first', 'unmeasured']),
  sentence: z.string(),
})

export const receiptSchema = z.object({
  deployment: z.string(),
  number: z.number(),
  kind: z.enum(['deploy', 'rollback', 'converge']),
  /** Release numbers; null: none. */
  from: z.number().nullable(),
  to: z.number().nullable(),
  state: z.enum(['succeeded', 'rolled_back', 'failed', 'cancelled']),
  /** Epoch milliseconds. */
  startedAt: z.number(),
  finishedAt: z.number(),
  seconds: z.number(),
  floor: floorSchema,
  waiting: waitingSchema,
  /** What dploy itself cost: the whole time, without floor and waiting. Milliseconds. */
  overheadMs: z.number(),
  phases: z.array(z.object({ name: phaseNameSchema, start: z.number(), end: z.number() })),
  servers: z.array(serverSchema),
  /** From start to end without a gap: the pieces' times add up to the whole. */
  criticalPath: z.array(pieceSchema),
  /** Between the first and the last server's switch, to the moment from which users are answered by the new release; null if none switched. Milliseconds. */
  skewMs: z.number().nullable(),
  /** Sent to all servers together. */
  bytes: z.number(),
  objects: z.number(),
  traffic: trafficSchema,
  /** The weightiest first: what users noticed before what only cost time. */
  causes: z.array(causeSchema).default([]),
  /** Null in receipts from before it was measured. */
  capacity: capacitySchema.nullable().default(null),
  /** What was cut; where a release is kept warm, what is cut at its end comes later, into the deployment's log. */
  cut: z.array(cutSchema).default([]),
  /** Servers that it left out of traffic, whoever took them out. */
  out: z.array(z.string()).default([]),
  /** Null in receipts from before there was one: protocol/verdict.ts makes it of them too. */
  verdict: verdictSchema.nullable().default(null),
})
export type Receipt = z.infer<typeof receiptSchema>
