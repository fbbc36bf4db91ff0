import * as z from 'zod'
import { placeSchema } from './access.ts'
import type { Route } from './route.ts'

export const badgeRoutes = {
  /** Answers image/svg+xml. Who may see it says `badge` in dploy.yml. */
  badge: {
    method: 'GET',
    path: '/badge/:application/:file',
    summary: 'What an environment runs, as a picture: /badge/shop/production.svg',
    access: 'open',
    etag: true,
    params: z.object({
      application: z.string().min(1).max(200),
      file: z
        .string()
        .max(210)
        .regex(/^.+\.svg$/, 'must end with .svg'),
    }),
    query: z.object({ token: z.string().max(200).optional() }),
    response: z.string(),
  },
  badgeAddress: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment/badge',
    summary: 'Address of the status badge, with its token where it needs one',
    access: 'read',
    params: placeSchema,
    response: z.object({
      /** As dploy.yml says. */
      shown: z.enum(['none', 'token', 'public']),
      /** Null: nobody may see it. */
      url: z.string().nullable(),
    }),
  },
} as const satisfies Record<string, Route>
