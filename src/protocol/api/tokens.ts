import * as z from 'zod'
import { placeSchema, rightSchema } from './access.ts'
import { nameSchema } from './people.ts'
import type { Route } from './route.ts'

/** An API token as it is listed: never the token itself. Times are epoch milliseconds. */
export const tokenSchema = z.object({
  id: z.string(),
  note: z.string(),
  right: rightSchema,
  /** Where it holds; null: everywhere. */
  places: z.array(placeSchema).nullable(),
  /** Whose it is: it may never do more than they may. Null: it was made on the control plane's own machine. */
  owner: z.object({ person: z.string(), name: z.string() }).nullable(),
  createdAt: z.number(),
  /** Null: never. */
  expiresAt: z.number().nullable(),
  usedAt: z.number().nullable(),
})
export type Token = z.infer<typeof tokenSchema>

export const tokenRoutes = {
  tokens: {
    method: 'GET',
    path: '/api/v1/tokens',
    summary: "API tokens: one's own, and for an administrator everybody's",
    access: 'known',
    response: z.object({ tokens: z.array(tokenSchema) }),
  },
  createToken: {
    method: 'POST',
    path: '/api/v1/tokens',
    summary: 'Make an API token, which may do no more than who makes it; it is shown once',
    access: 'own',
    idempotent: true,
    body: z.strictObject({
      note: nameSchema,
      right: rightSchema,
      places: z.array(placeSchema).min(1).max(500).nullable().default(null),
      /** For how many days; null: for ever. */
      days: z.number().positive().max(3_660).nullable().default(90),
    }),
    response: z.object({ token: z.string(), entry: tokenSchema }),
  },
  revokeToken: {
    method: 'DELETE',
    path: '/api/v1/tokens/:token',
    summary: 'End an API token',
    access: 'own',
    params: z.object({ token: z.string().min(1).max(100) }),
    response: z.object({}),
  },
} as const satisfies Record<string, Route>
