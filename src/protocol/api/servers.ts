import * as z from 'zod'
import { errorReportSchema } from '../peer.ts'
import { nextSchema, pageOf, type Route } from './route.ts'
import { machineNowSchema } from './vitals.ts'

export const serverName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/i, 'a name has letters, digits, ".", "_" and "-", and at most 63 of them')
const byName = z.object({ server: z.string().min(1).max(200) })

/** What a server runs for one environment. Times are epoch milliseconds. */
export const serverReleaseSchema = z.object({
  application: z.string(),
  environment: z.string(),
  tags: z.record(z.string(), z.string()),
  /** Whether a dploy.yml lists it there; false: it joined by a token for the environment. */
  listed: z.boolean(),
  /** When release and service were so: now, or where nobody answers when it was last seen; null: it never was. */
  observedAt: z.number().nullable().default(null),
  release: z.number().nullable(),
  /** Since when the service runs; null where it does not, or has none. */
  since: z.number().nullable(),
  /** Whether the service answers its health check; null where nobody can say. */
  healthy: z.boolean().nullable(),
  /** Runs something else than the environment wants. */
  drifted: z.boolean(),
  problem: errorReportSchema.nullable(),
})

export const serverSchema = z.object({
  name: z.string(),
  connected: z.boolean(),
  /** Since when it is connected, or was so last; null: never. */
  since: z.number().nullable(),
  /** Whether an agent has joined under this name. */
  joined: z.boolean(),
  /** Since when it is refused because two machines hold its key. */
  locked: z.number().nullable(),
  keptOut: z.object({ since: z.number(), by: z.string() }).nullable(),
  agent: z
    .object({
      version: z.string(),
      platform: z.string(),
      /** SHA-256 of the program of an agent that upgrades itself. */ program: z.string().nullable().default(null),
      clockSkewMs: z.number(),
      roundTripMs: z.number(),
    })
    .nullable(),
  /** How its machine is, as its agent told last. */
  now: machineNowSchema.default(null),
  /** Why its agent is not upgraded to the version of the control plane; null: nothing is known to stand in the way. */
  upgradeProblem: z.string().nullable().default(null),
  releases: z.array(serverReleaseSchema),
})
export type ServerView = z.infer<typeof serverSchema>

const requestedBy = z.string().max(200).optional()
const trafficResponse = z.object({
  environments: z.array(
    z.object({ application: z.string(), environment: z.string(), problem: errorReportSchema.nullable() }),
  ),
})

export const serverRoutes = {
  servers: {
    method: 'GET',
    path: '/api/v1/servers',
    summary: 'Every server: whether it is connected, and what it runs',
    access: 'read',
    etag: true,
    reach: 'some',
    query: z.object(pageOf({ most: 10_000, usual: 10_000 })),
    response: z.object({ servers: z.array(serverSchema), next: nextSchema }),
  },
  server: {
    method: 'GET',
    path: '/api/v1/servers/:server',
    summary: 'One server, asked now',
    access: 'read',
    params: byName,
    response: serverSchema,
  },
  drainServer: {
    method: 'POST',
    path: '/api/v1/servers/:server/drain',
    summary: 'Take a server out of the traffic of all its environments, and keep it out through deployments',
    access: 'deploy',
    params: byName,
    body: z.strictObject({ requestedBy }),
    response: trafficResponse,
  },
  readyServer: {
    method: 'POST',
    path: '/api/v1/servers/:server/ready',
    summary: 'Put a server back into traffic',
    access: 'deploy',
    params: byName,
    body: z.strictObject({ requestedBy }),
    response: trafficResponse,
  },
  renameServer: {
    method: 'POST',
    path: '/api/v1/servers/:server/name',
    summary: 'Give a server another name',
    access: 'administer',
    params: byName,
    body: z.strictObject({ name: serverName }),
    /** Environments whose dploy.yml still says the old name. */
    response: z.object({ listed: z.array(z.string()) }),
  },
  removeServer: {
    method: 'DELETE',
    path: '/api/v1/servers/:server',
    summary: 'Forget a server and its key; its agent is refused from then on',
    access: 'administer',
    params: byName,
    response: z.object({}),
  },
  rotateServerKey: {
    method: 'POST',
    path: '/api/v1/servers/:server/key',
    summary: 'Have the agent make a new key; where it cannot be asked, forget its key and answer a token to join with',
    access: 'administer',
    params: byName,
    body: z.strictObject({ /** Forget the key even if the agent is connected. */ forget: z.boolean().default(false) }),
    response: z.object({ token: z.string().nullable() }),
  },
  unlockServer: {
    method: 'DELETE',
    path: '/api/v1/servers/:server/lock',
    summary: 'Let a server in again that was locked because two machines held its key',
    access: 'administer',
    params: byName,
    response: z.object({}),
  },
  installer: {
    method: 'GET',
    path: '/api/v1/installer',
    summary: 'The script that makes a machine a server, and the address that it dials',
    access: 'administer',
    response: z.object({ url: z.string(), script: z.string() }),
  },
  addToEnvironment: {
    method: 'POST',
    path: '/api/v1/servers/:server/environments',
    summary:
      'Make a server a member of an environment, with tags beside those it has; what dploy.yml lists keeps the tags that stand there',
    access: 'administer',
    params: byName,
    body: z.strictObject({
      application: z.string().min(1).max(200),
      environment: z.string().min(1).max(200),
      tags: z.record(z.string().max(100), z.string().max(200)).default({}),
    }),
    response: z.object({ listed: z.boolean(), tags: z.record(z.string(), z.string()) }),
  },
  createJoinToken: {
    method: 'POST',
    path: '/api/v1/join-tokens',
    summary: 'A token with which agents join',
    access: 'administer',
    idempotent: true,
    body: z.strictObject({
      note: z.string().max(200).default(''),
      uses: z.number().int().min(1).max(10_000).default(1),
      minutes: z
        .number()
        .min(1)
        .max(60 * 24 * 30)
        .default(60),
      /** Whoever joins with it becomes a member of these. */
      environments: z
        .array(z.object({ application: z.string(), environment: z.string() }))
        .max(100)
        .default([]),
      tags: z.record(z.string().max(100), z.string().max(200)).default({}),
      /** The only name under which it lets join. */
      server: serverName.optional(),
    }),
    response: z.object({ token: z.string() }),
  },
  join: {
    method: 'POST',
    path: '/agents/join',
    summary: 'Exchange a join token for an identity; asked by agents',
    access: 'open',
    body: z.strictObject({ token: z.string().max(200), name: serverName, publicKey: z.string().max(1000) }),
    response: z.object({ server: z.string(), controlKey: z.string() }),
  },
} as const satisfies Record<string, Route>
