import * as z from 'zod'
import { digestPattern } from '../manifest.ts'
import { auditRoutes } from './audit.ts'
import { badgeRoutes } from './badge.ts'
import { changeRoutes } from './changes.ts'
import { commandRoutes } from './commands.ts'
import { controlRoutes } from './control.ts'
import { deploymentRoutes } from './deployments.ts'
import { doctorRoutes } from './doctor.ts'
import { environmentRoutes } from './environments.ts'
import { notificationRoutes } from './notifications.ts'
import { overviewRoutes } from './overview.ts'
import { peopleRoutes } from './people.ts'
import type { Route } from './route.ts'
import { sourceRoutes } from './source.ts'
import { secretRoutes } from './secrets.ts'
import { serverRoutes } from './servers.ts'
import { settingsRoutes } from './settings.ts'
import { sessionRoutes } from './session.ts'
import { tokenRoutes } from './tokens.ts'
import { vitalsRoutes } from './vitals.ts'
import { webhookRoutes } from './webhooks.ts'

const digest = z.string().regex(digestPattern)

/** The whole API, by the name under which the client calls each operation. */
export const routes = {
  ...environmentRoutes,
  ...overviewRoutes,
  ...deploymentRoutes,
  ...sourceRoutes,
  ...secretRoutes,
  ...settingsRoutes,
  ...serverRoutes,
  ...vitalsRoutes,
  ...commandRoutes,
  ...doctorRoutes,
  ...sessionRoutes,
  ...peopleRoutes,
  ...tokenRoutes,
  ...auditRoutes,
  ...webhookRoutes,
  ...controlRoutes,
  ...notificationRoutes,
  ...badgeRoutes,
  ...changeRoutes,
  apply: {
    method: 'PUT',
    path: '/api/v1/applications',
    summary: 'Record a dploy.yml: its application, environments and servers',
    access: 'deploy',
    reach: 'some',
    audited: 'changes',
    body: z.strictObject({
      /** The text of dploy.yml. */
      text: z.string().max(2_000_000),
      fileName: z.string().default('dploy.yml'),
      /** Where it stands on the control plane's machine, for a source given as a path. */
      base: z.string().nullable().default(null),
    }),
    response: z.object({ application: z.string(), environments: z.array(z.string()), warnings: z.array(z.string()) }),
  },
  offerArtifact: {
    method: 'POST',
    path: '/api/v1/artifacts',
    summary: 'Announce an artifact by its manifest; answers which objects are missing',
    access: 'deploy',
    reach: 'some',
    audited: false,
    body: z.strictObject({ manifest: z.string() }),
    response: z.object({ artifact: digest, missing: z.array(digest) }),
  },
  uploadObjects: {
    method: 'PUT',
    path: '/api/v1/objects',
    summary: 'Upload objects as a pack, compressed with zstd',
    access: 'deploy',
    reach: 'some',
    audited: false,
    response: z.object({ objects: z.number() }),
    stream: 'pack',
  },
} as const satisfies Record<string, Route>

export type Routes = typeof routes
export type RouteName = keyof Routes

/** An error as the API answers it: application/problem+json (RFC 9457) with dploy's stable code. */
export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number(),
  detail: z.string(),
  code: z.string(),
  fix: z.string(),
  where: z.string().optional(),
})
