import * as z from 'zod'

/** What agent and keeper say to each other: one JSON object a line over a unix socket. */

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

export const keeperRequestSchema = z.discriminatedUnion('op', [
  z.object({ id: z.number(), op: z.literal('start'), service: keptServiceSchema }),
  z.object({ id: z.number(), op: z.literal('stop') }),
  z.object({ id: z.number(), op: z.literal('observe') }),
  /** Ends the service and the keeper. */
  z.object({ id: z.number(), op: z.literal('quit') }),
])
export type KeeperRequest = z.infer<typeof keeperRequestSchema>

export const keeperAnswerSchema = z.union([
  z.object({ id: z.number(), ok: z.literal(true), killed: z.boolean().optional(), service: keptServiceSchema.nullable().optional(), instances: z.array(instanceSchema).optional() }),
  z.object({ id: z.number(), ok: z.literal(false), message: z.string() }),
  /** An instance ended by itself. */
  z.object({ event: z.literal('exit'), pid: z.number(), code: z.number().nullable(), signal: z.string().nullable() }),
])
export type KeeperAnswer = z.infer<typeof keeperAnswerSchema>
