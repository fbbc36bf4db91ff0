import * as z from 'zod'
import { placeSchema } from './access.ts'
import type { Route } from './route.ts'

/** Where notifications of an environment go: an entry of `notify` in dploy.yml. Times are epoch milliseconds. */
export const notifyTargetSchema = z.object({
  /** Of the entry: one that was changed is another. */
  key: z.string(),
  kind: z.enum(['slack', 'webhook', 'email', 'commit_status']),
  /** For people; holds no secret. */
  name: z.string(),
  on: z.array(z.string()),
  state: z.enum(['new', 'working', 'failing', 'disabled']),
  deliveredAt: z.number().nullable(),
  failingSince: z.number().nullable(),
  /** Why the last one did not arrive, or why nothing is sent there any more. */
  reason: z.string().nullable(),
  /** How many wait to be sent. */
  waiting: z.number(),
})
export type NotifyTargetView = z.infer<typeof notifyTargetSchema>

export const notificationRoutes = {
  notifications: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment/notifications',
    summary: 'Who is told of deployments, and whether it arrives',
    access: 'read',
    params: placeSchema,
    response: z.object({ targets: z.array(notifyTargetSchema) }),
  },
  testNotification: {
    method: 'POST',
    path: '/api/v1/environments/:application/:environment/notifications/:key/test',
    summary: 'Send a test now; takes up again what was disabled',
    access: 'administer',
    params: placeSchema.extend({ key: z.string().regex(/^[0-9a-f]{1,64}$/, 'must be the key of an entry') }),
    response: notifyTargetSchema,
  },
} as const satisfies Record<string, Route>
