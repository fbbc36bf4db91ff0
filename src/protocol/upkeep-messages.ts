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
} as const satisfies Record<string, { params: z.ZodType; result: z.ZodType; event: z.ZodType }>
