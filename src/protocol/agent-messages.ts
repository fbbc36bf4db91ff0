import * as z from 'zod'
import { commandMethods } from './command-messages.ts'
import { diagnoseMethods } from './diagnosis.ts'
import { machineMethods, machineSchema } from './machine.ts'
import { digestPattern } from './manifest.ts'
import { releaseSpecSchema } from './release-spec.ts'
import { sharedMethods } from './shared-record.ts'
import { upkeepMethods } from './upkeep-messages.ts'

/**
 * What control plane and agent ask of each other. Each message has the schema of its parameters, of its result, and of
 * the events that come before the result. All times are epoch milliseconds of the speaker, durations milliseconds.
 */

const digest = z.string().regex(digestPattern)
const place = z.object({
  application: z.string(),
  environment: z.string(),
  /** Where the releases of this application live on the server. */
  directory: z.string().startsWith('/'),
})
/** What the same release does differently on this server. */
const local = z.object({
  port: z.number().optional(),
  /** Values of the release's secrets, by name, where its commands or processes are started. Those that the server keeps may be left out. */
  secrets: z.record(z.string(), z.string()).optional(),
})

/** A span of a step: `name` is one of drain, switch, …; times are milliseconds since the step began. */
export const spanSchema = z.object({ name: z.string(), start: z.number(), end: z.number() })
export type Span = z.infer<typeof spanSchema>

export const serviceStateSchema = z.object({
  /** `none`: the release has no service. `unknown`: the manager cannot say. */
  state: z.enum(['running', 'stopped', 'failed', 'none', 'unknown']),
  /** Number of the release whose directory the processes run in. */
  release: z.number().nullable(),
  /** Epoch milliseconds of the youngest process's start. */
  since: z.number().nullable(),
  /** Process ids, one per instance that runs. */
  pids: z.array(z.number()),
  /** How often the manager started it again by itself since the last activation. */
  restarts: z.number(),
  /** How the release that serves was started, and so how the next one can take over; left out: by a restart. */
  handover: z.enum(['socket', 'port']).optional(),
  /** Handover `port`: where the release that serves listens. */
  port: z.number().optional(),
  /** Releases whose processes run beside it: booted and not yet switched to, kept warm, or about to end. */
  beside: z.array(z.number()).optional(),
})
export type ServiceState = z.infer<typeof serviceStateSchema>

/** Anything that a hook, a release command or a service printed. */
const outputEvent = z.object({
  kind: z.literal('output'),
  source: z.string(),
  stream: z.enum(['stdout', 'stderr']),
  text: z.string(),
})
/**
 * How the release before ended, once the new one had taken over beside it: within `ms` of its stop signal, `ago` ms before this
 * was sent. `connections`: those that were cut because it was killed.
 */
const endedSchema = z.object({
  release: z.number(),
  ms: z.number(),
  ago: z.number(),
  killed: z.boolean(),
  connections: z.number(),
})
export type Ended = z.infer<typeof endedSchema>
const noteEvent = z.object({ kind: z.literal('note'), text: z.string(), ended: endedSchema.optional() })
const progressEvent = z.object({ kind: z.literal('progress'), phase: z.string() })
export const stepEventSchema = z.discriminatedUnion('kind', [outputEvent, noteEvent, progressEvent])
export type StepEvent = z.infer<typeof stepEventSchema>

export const agentMethods = {
  /** What there is on the server for one application's environment. */
  observe: {
    params: place,
    result: z.object({
      /** The release that `current` points at. */
      current: z.number().nullable(),
      releases: z.array(
        z.object({
          number: z.number(),
          id: z.string(),
          artifact: digest,
          /** Secrets whose values the server does not keep, so that they have to be brought. Left out by an agent that keeps none. */
          lacks: z.array(z.string()).optional(),
        }),
      ),
      service: serviceStateSchema,
      freeBytes: z.number(),
      /** Its disk is the one that these releases are on. Left out by an agent that does not know of it. */
      machine: machineSchema.optional(),
    }),
    event: z.never(),
  },
  /**
   * Brings a release onto the server. The call's body is the delta (zstd) that turns the manifest of artifact `from`
   * (null: of nothing) into the release's manifest. What objects are missing then is asked for by `objects`.
   * Runs the hook after_stage. Staging what is already staged moves nothing.
   */
  stage: {
    params: z.object({ release: releaseSpecSchema, local, from: digest.nullable() }),
    result: z.object({
      already: z.boolean(),
      objects: z.number(),
      /** Bytes received for this release, as they came (compressed). */
      bytes: z.number(),
      /** Objects that were in the store with wrong content and were fetched again. */
      repaired: z.number(),
      spans: z.array(spanSchema),
    }),
    event: stepEventSchema,
  },
  /** Runs the release command in the staged release, once per command id even when asked twice. */
  release_command: {
    params: z.object({ release: releaseSpecSchema, local }),
    result: z.object({ seconds: z.number() }),
    event: stepEventSchema,
  },
  /**
   * Starts a staged release beside the one that serves and waits until it is healthy; nobody is sent to it. With
   * handover `socket` this is a trial on a socket of its own, which ends. When it fails nothing is left of it.
   */
  boot: {
    params: z.object({ release: releaseSpecSchema, local, balancerSwitches: z.boolean() }),
    result: z.object({ already: z.boolean(), spans: z.array(spanSchema) }),
    event: stepEventSchema,
  },
  /** Ends what `boot` started of a release that was not switched to. */
  retire: {
    params: place.extend({ release: z.number() }),
    result: z.object({}),
    event: z.never(),
  },
  /**
   * Makes a staged release the current one: hooks, switch, start, health check. When it fails the server is left as it
   * is (the caller decides what to activate next); the error names why, with the last lines of the service.
   */
  activate: {
    params: z.object({
      release: releaseSpecSchema,
      local,
      /** The balancer is told the release's port, so that the server need not redirect to it. */
      balancerSwitches: z.boolean().optional(),
      /** Instead of the release, what served before the first one (service.replaces) serves again. */
      backToReplaced: z.boolean().optional(),
    }),
    result: z.object({
      already: z.boolean(),
      spans: z.array(spanSchema),
      service: serviceStateSchema,
      /** Handover `port`: where the release listens. */
      port: z.number().optional(),
    }),
    event: stepEventSchema,
  },
  /**
   * Watches the current release's service for `duration`, until cancelled or until it fails: rejects with
   * `service.exited` or `service.unhealthy` the moment it does.
   */
  watch: {
    params: z.object({ release: releaseSpecSchema, local, duration: z.number() }),
    result: z.object({ checks: z.number() }),
    event: stepEventSchema,
  },
  /** Whether the service that runs, of whatever release, answers as `release` says that it has to, within `timeout`. */
  check_health: {
    params: z.object({ release: releaseSpecSchema, local, timeout: z.number() }),
    result: z.object({ healthy: z.boolean(), detail: z.string() }),
    event: z.never(),
  },
  /** Removes releases over `keep` and objects that no release names. Never the current one nor those in `protect`. */
  collect: {
    params: place.extend({ keep: z.number(), protect: z.array(z.number()) }),
    result: z.object({ removedReleases: z.array(z.number()), removedObjects: z.number(), freedBytes: z.number() }),
    event: z.never(),
  },
  /** The last lines of the service (not older than `since`, with the text `grep` in them), and with `follow` what comes until the call is cancelled. */
  logs: {
    params: place.extend({
      lines: z.number(),
      follow: z.boolean(),
      since: z.number().nullable().default(null),
      grep: z.string().max(1_000).nullable().default(null),
    }),
    result: z.object({}),
    event: z.object({ at: z.number().nullable(), text: z.string() }),
  },
  ...commandMethods,
  ...diagnoseMethods,
  ...sharedMethods,
  ...upkeepMethods,
} as const satisfies Record<string, { params: z.ZodType; result: z.ZodType; event: z.ZodType }>

export type AgentMethod = keyof typeof agentMethods
export type AgentParams<M extends AgentMethod> = z.infer<(typeof agentMethods)[M]['params']>
export type AgentResult<M extends AgentMethod> = z.infer<(typeof agentMethods)[M]['result']>
export type AgentEvent<M extends AgentMethod> = z.infer<(typeof agentMethods)[M]['event']>

/** What an agent asks of the control plane. */
export const controlMethods = {
  /** Objects by digest; they come as events whose bodies, put together, are one zstd stream of a pack. */
  objects: {
    params: z.object({ release: z.string(), digests: z.array(digest).max(200_000) }),
    result: z.object({ bytes: z.number() }),
    event: z.object({}),
  },
  /** The whole manifest of an artifact (zstd), for when a delta cannot be applied. Comes as events. */
  manifest: {
    params: z.object({ release: z.string(), artifact: digest }),
    result: z.object({}),
    event: z.object({}),
  },
  /** What came to be known of an environment's service while nobody watched it: connections that were cut when a release ended that had been kept warm. */
  note: {
    params: z.object({ application: z.string(), environment: z.string(), text: z.string().max(1_000) }),
    result: z.object({}),
    event: z.never(),
  },
  ...machineMethods,
} as const satisfies Record<string, { params: z.ZodType; result: z.ZodType; event: z.ZodType }>

/** What an agent says of itself is stored, and shown to people: short, and nothing that a terminal obeys. */
const label = z
  .string()
  .max(200)
  .regex(/^[\x20-\x7E]*$/, 'has to be printable ASCII')

/** First call on a connection, from control plane to agent. The agent proves that it holds its server's key. */
export const helloParams = z.object({
  protocol: z.number(),
  nonce: z.string(),
  /**
   * Who the agent is to be and whom it obeys, where ssh carries the connection: who may start an agent there may do so.
   * An agent that dialled itself takes no notice of it.
   */
  introduction: z
    .object({ server: z.string(), name: z.string(), controlKey: z.string(), look: place.optional() })
    .optional(),
})
export const helloResult = z.object({
  protocol: z.number(),
  server: label,
  /** Ed25519 over `dploy hello\n` + nonce + `\n` + server, base64; empty where ssh carries the connection. */
  signature: label,
  /** The same by the key that is to replace it. */
  nextSignature: label.optional(),
  version: label,
  platform: label,
  /** Differs at each start of the agent. */
  instance: label,
  clock: z.number(),
  /** What the server keeps for the place that the introduction named. */
  held: sharedMethods.hold.result.optional(),
  /** What there is in that place, seen after `held` was read. */
  observed: agentMethods.observe.result.optional(),
  /** The version of an agent that upgrades itself: SHA-256 of its program; and whether it is new there and not yet told to stay. */
  bundle: z.object({ digest, trial: z.boolean() }).optional(),
  /** The EC2 instance that the agent runs on, where it runs on one. */
  instanceId: z
    .string()
    .regex(/^i-[0-9a-f]{8,17}$/)
    .optional(),
})
export type HelloResult = z.infer<typeof helloResult>

/** A command: its text is what is signed. Any `agentMethods` call travels inside one, as the method `command`. */
export const commandText = z.object({
  id: z.string(),
  server: z.string(),
  application: z.string(),
  environment: z.string(),
  /** Fencing token of the environment's lock; 0 for what only reads. */
  epoch: z.number().int(),
  /** Epoch milliseconds. */
  expires: z.number(),
  method: z.enum(Object.keys(agentMethods) as [AgentMethod, ...AgentMethod[]]),
  params: z.unknown(),
  /** SHA-256 of the call's body. */
  body: digest,
})
export type CommandText = z.infer<typeof commandText>
export const signedCommand = z.object({ text: z.string(), signature: z.string() })
export type SignedCommand = z.infer<typeof signedCommand>
