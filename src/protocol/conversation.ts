import * as z from 'zod'

/**
 * Frames between the conversations that one agent has over the same pair of streams, one after the other, with one command
 * of a laptop each. `next` ends the one before and begins another, `ready` says that it has begun (nothing of the one
 * before comes after it), `bye` ends one; the agent then waits for a `next`, or for the end of the streams. The first
 * conversation begins with the streams. Agents that dial out know none of these.
 */
const betweenSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('next'), id: z.string().max(100) }),
  z.object({ kind: z.literal('ready'), id: z.string().max(100) }),
  z.object({ kind: z.literal('bye') }),
])
export type Between = z.infer<typeof betweenSchema>

/** Reads the head of such a frame; null for every other. */
export function readBetween(head: unknown): Between | null {
  const kind = (head as { kind?: unknown } | null)?.kind
  if (kind !== 'next' && kind !== 'ready' && kind !== 'bye') return null
  return betweenSchema.safeParse(head).data ?? null
}
