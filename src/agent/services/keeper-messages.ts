import * as z from 'zod'

/** What agent and keeper say to each other: one JSON object a line over a unix socket. */

/** A listening socket that a keeper holds; `host` null: every address. */
const keptSocketSchema = z.object({ host: z.string().nullable(), port: z.number() })
export type KeptSocket = z.infer<typeof keptSocketSchema>

export const keptServiceSchema = z.object({
  release: z.number(),
  cwd: z.string(),
  command: z.string(),
  env: z.record(z.string(), z.string()),
  /** PORT of each instance; null: it has none. */
  ports: z.array(z.number().nullable()),
  uid: z.number().optional(),
  gid: z.number().optional(),
  stopSignal: z.string(),
  /** Milliseconds. */
  stopTimeout: z.number(),
  /** Handed to each instance as its descriptors from 3 on. */
  sockets: z.array(keptSocketSchema).optional(),
})
export type KeptService = z.infer<typeof keptServiceSchema>

export const instanceSchema = z.object({
  port: z.number().nullable(),
  /** Null while it waits to be started again. */
  pid: z.number().nullable(),
  startTicks: z.string().nullable(),
  restarts: z.number(),
})
export type Instance = z.infer<typeof instanceSchema>

/** What a keeper keeps under one name. */
export const keptRunSchema = z.object({
  name: z.string(),
  serving: z.boolean(),
  service: keptServiceSchema,
  instances: z.array(instanceSchema),
})
export type KeptRunState = z.infer<typeof keptRunSchema>

export const keeperRequestSchema = z.discriminatedUnion('op', [
  /** Ends everything else first; the run has the name "main". */
  z.object({ id: z.number(), op: z.literal('start'), service: keptServiceSchema }),
  /** Starts a run beside the others. */
  z.object({ id: z.number(), op: z.literal('boot'), run: z.string(), service: keptServiceSchema }),
  /** `observe` is about this run from now on. */
  z.object({ id: z.number(), op: z.literal('serve'), run: z.string() }),
  /** Ends one run. */
  z.object({ id: z.number(), op: z.literal('end'), run: z.string() }),
  z.object({ id: z.number(), op: z.literal('stop') }),
  z.object({ id: z.number(), op: z.literal('observe') }),
  /** Ends the service and the keeper. */
  z.object({ id: z.number(), op: z.literal('quit') }),
])
export type KeeperRequest = z.infer<typeof keeperRequestSchema>

export const keeperAnswerSchema = z.union([
  z.object({
    id: z.number(),
    ok: z.literal(true),
    killed: z.boolean().optional(),
    service: keptServiceSchema.nullable().optional(),
    instances: z.array(instanceSchema).optional(),
    runs: z.array(keptRunSchema).optional(),
    held: z.array(z.number()).optional(),
  }),
  z.object({ id: z.number(), ok: z.literal(false), message: z.string() }),
  /** An instance ended by itself. */
  z.object({ event: z.literal('exit'), pid: z.number(), code: z.number().nullable(), signal: z.string().nullable() }),
])
export type KeeperAnswer = z.infer<typeof keeperAnswerSchema>
