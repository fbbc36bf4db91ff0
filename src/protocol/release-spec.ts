import * as z from 'zod'
import { DployError } from './errors.ts'
import { digestPattern } from './manifest.ts'

/** What an agent must know of a release to stage, run and remove it: immutable once made. Durations in milliseconds. */

const timed = z.object({ command: z.string(), timeout: z.number() })

export const healthSpecSchema = z.object({
  kind: z.enum(['http', 'tcp']).default('http'),
  path: z.string(),
  status: z.array(z.number()).optional(),
  host: z.string().optional(),
  body: z.string().optional(),
  header: z.record(z.string(), z.string()).default({}),
  command: z.string().optional(),
  timeout: z.number(),
  answer_within: z.number(),
  interval: z.number(),
  successes: z.number(),
})

export const serviceSpecSchema = z.object({
  command: z.string().optional(),
  port: z.number().optional(),
  health: healthSpecSchema,
  instances: z.number(),
  stop: z.object({ signal: z.string(), timeout: z.number() }),
  manager: z.enum(['auto', 'systemd', 'process', 'command']),
  restart: z.string().optional(),
  status: z.string().optional(),
  logs: z.string().optional(),
  user: z.string().optional(),
  replaces: z.array(z.string()).optional(),
  handover: z.enum(['restart', 'socket', 'port']).optional(),
  overlap: z.boolean().optional(),
  release_ports: z.object({ from: z.number(), to: z.number() }).optional(),
  keep_warm: z.number().optional(),
})

/** How releases of a service take over from each other: `restart` where two may not run beside each other. */
export function handoverOf(service: ServiceSpec | null): 'restart' | 'socket' | 'port' {
  return service === null || service.overlap === false ? 'restart' : (service.handover ?? 'restart')
}

export const revisionSchema = z.object({
  /** The full commit id; null when a directory was deployed without git. */
  commit: z.string().nullable(),
  /** What the person asked for: a branch, a tag, a commit. */
  ref: z.string().nullable(),
  subject: z.string(),
  author: z.string(),
  /** Epoch milliseconds of the commit. */
  time: z.number(),
})

export const releaseSpecSchema = z.object({
  id: z.string(),
  number: z.number().int().positive(),
  application: z.string(),
  environment: z.string(),
  artifact: z.string().regex(digestPattern),
  revision: revisionSchema,
  directory: z.string().startsWith('/'),
  keep: z.number().int(),
  shared: z.array(z.string()),
  assets: z.array(z.string()).default([]),
  writable: z.array(z.string()).optional(),
  service: serviceSpecSchema.nullable(),
  hooks: z.object({
    after_stage: timed.optional(),
    before_activate: timed.optional(),
    after_activate: timed.optional(),
  }),
  release_command: timed.extend({ check_old: z.boolean().default(true) }).nullable(),
  variables: z.record(z.string(), z.string()),
  /** Ids of the secrets' values, by name. The values come with a command, and the server keeps them beside the release. */
  secrets: z.record(z.string(), z.string()).default({}),
})

export type Revision = z.infer<typeof revisionSchema>
export type HealthSpec = z.infer<typeof healthSpecSchema>
export type ServiceSpec = z.infer<typeof serviceSpecSchema>
export type ReleaseSpec = z.infer<typeof releaseSpecSchema>

/** Why a release cannot be started on a server: nobody has the values of these secrets any more. */
export function neitherHereNorThere(release: number, names: readonly string[], server: string): DployError {
  return new DployError(
    'secret.missing',
    `Release ${release} was made with secrets whose values are neither here nor kept on ${server}: ${names.join(', ')}`,
    { where: server, fix: 'Set them, and deploy the revision again' },
  )
}
