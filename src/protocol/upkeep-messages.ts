import * as z from 'zod'

/** What the control plane asks of a resident agent about itself. */
export const upkeepMethods = {
  /**
   * `make`: makes a new key, keeps it beside the present one, and signs with both from the next hello on. Asked again,
   * it answers the same. `keep`: the control plane knows the new one now, so that the old one goes.
   */
  rotate_key: {
    params: z.object({ step: z.enum(['make', 'keep']) }),
    result: z.object({ publicKey: z.string() }),
    event: z.never(),
  },
  /**
   * `take`: the body is the agent's program of another version, which it makes its own, and starts anew with; the one before
   * comes back after `trialSeconds` unless the control plane says `keep` to the new one. Refused with `agent.busy` while it works.
   */
  upgrade: {
    params: z.object({
      step: z.enum(['take', 'keep']),
      digest: z.string().regex(/^[0-9a-f]{64}$/),
      trialSeconds: z.number().int().min(0).max(3_600),
    }),
    result: z.object({}),
    event: z.never(),
  },
} as const satisfies Record<string, { params: z.ZodType; result: z.ZodType; event: z.ZodType }>
