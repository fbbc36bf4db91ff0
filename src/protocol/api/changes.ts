import * as z from 'zod'
import { placeSchema } from './access.ts'
import type { Route } from './route.ts'

/** What can change: lists and things of the API. `steps`: how far servers are in a deployment; `session`: what the caller may do. */
export const changeKindSchema = z.enum([
  'environments',
  'deployments',
  'steps',
  'servers',
  'releases',
  'secrets',
  'people',
  'tokens',
  'webhooks',
  'session',
])
export type ChangeKind = z.infer<typeof changeKindSchema>

export const changesSchema = z.object({
  /** Everything may have: nobody knows what happened since. */
  everything: z.boolean(),
  /** `place` null: in none in particular. */
  changes: z.array(z.object({ kind: changeKindSchema, place: placeSchema.nullable() })),
})
export type Changed = z.infer<typeof changesSchema>

export const changeRoutes = {
  watchChanges: {
    method: 'GET',
    path: '/api/v1/changes',
    summary:
      'Of what kind something has changed, and where, since Last-Event-ID; with follow=true live what changes from then on, and an empty one every two seconds',
    access: 'read',
    reach: 'some',
    query: z.object({ follow: z.enum(['true', 'false']).default('false') }),
    response: changesSchema,
    stream: 'events',
  },
} as const satisfies Record<string, Route>
