import * as z from 'zod'
import { revisionSchema } from '../release-spec.ts'
import { serviceSpecSchema } from '../release-spec.ts'
import type { Route } from './route.ts'

const place = z.object({ application: z.string().min(1), environment: z.string().min(1) })

const changedFileSchema = z.object({
  path: z.string(),
  change: z.enum(['added', 'changed', 'removed']),
  /** Of the new content; 0: removed. */ bytes: z.number(),
})
export type ChangedFile = z.infer<typeof changedFileSchema>

const filesSchema = z.object({
  count: z.number(),
  /** All new content together. */
  bytes: z.number(),
  /** The first 200 at most. */
  files: z.array(changedFileSchema),
})

const namedSchema = z.object({ name: z.string(), revision: revisionSchema })

/** What differs between two releases. Variables and secrets by name only: values are nobody's business here. */
export const releaseDifferenceSchema = z.object({
  from: z.number(),
  to: z.number(),
  sameArtifact: z.boolean(),
  /** Those that `to` has and `from` has not, the newest first, at most 50. */
  commits: z.array(revisionSchema),
  /** Those that are lost by going from `from` to `to`. */
  commitsBack: z.array(revisionSchema),
  /** Null where git cannot tell: a release without a commit. */
  files: filesSchema.nullable(),
  variables: z.array(
    z.object({ name: z.string(), change: z.enum(['added', 'changed', 'removed']), secret: z.boolean() }),
  ),
  service: z.object({ from: serviceSpecSchema.nullable(), to: serviceSpecSchema.nullable() }).nullable(),
})
export type ReleaseDifference = z.infer<typeof releaseDifferenceSchema>

export const sourceRoutes = {
  revisions: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment/revisions',
    summary:
      "What can be deployed: branches, tags, and the latest commits of the environment's branch or those that a search finds",
    access: 'read',
    params: place,
    query: z.object({
      search: z.string().max(200).default(''),
      limit: z.coerce.number().int().min(1).max(100).default(20),
    }),
    response: z.object({
      branch: z.string().nullable(),
      commits: z.array(revisionSchema),
      branches: z.array(namedSchema),
      tags: z.array(namedSchema),
    }),
  },
  changes: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment/changes',
    summary: 'Which files a revision would change in the environment',
    access: 'read',
    params: place,
    query: z.object({ revision: z.string().min(1).max(500) }),
    response: z.object({ files: filesSchema.nullable() }),
  },
  compareReleases: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment/releases/:from/compare/:to',
    summary: 'What differs between two releases',
    access: 'read',
    params: place.extend({ from: z.coerce.number().int().positive(), to: z.coerce.number().int().positive() }),
    response: releaseDifferenceSchema,
  },
} as const satisfies Record<string, Route>
