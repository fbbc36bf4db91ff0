import * as z from 'zod'
import { parseDuration } from './duration.ts'

/**
 * The schema of dploy.yml: the one description from which validation, the JSON Schema for editors, `dploy init`'s
 * comments and the reference in docs/ are made. Durations become milliseconds.
 */

const duration = (text: string) =>
  z
    .union([z.string(), z.number().nonnegative()])
    .transform((value, context) => {
      try {
        return parseDuration(value)
      } catch (error) {
        context.addIssue({ code: 'custom', message: (error as Error).message })
        return z.NEVER
      }
    })
    .describe(text)

/** A default stands in the form that a person writes, so that the JSON Schema shows it. */
const durationOr = (value: string, text: string) => duration(text).prefault(value)

const name = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/i, 'use letters, digits, ".", "_" and "-", at most 63, the first a letter or digit')
const command = z.string().min(1).max(20_000)
const relativePath = z
  .string()
  .min(1)
  .refine((path) => !path.startsWith('/') && !path.split('/').includes('..') && !path.includes('\0'), 'must be a path inside the directory, without ".."')
const absolutePath = z
  .string()
  .refine((path) => path.startsWith('/') && !path.split('/').includes('..') && !path.includes('\0'), 'must be an absolute path without ".."')
const portNumber = z.number().int().min(1).max(65_535)
const variables = z
  .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'use letters, digits and "_", the first no digit'), z.union([z.string(), z.number(), z.boolean()]).transform(String))
  .describe('Environment variables by name.')

const source = z
  .union([
    z.string().min(1),
    z.strictObject({
      repository: z.string().min(1).describe('A git URL, or a path relative to dploy.yml.'),
      subfolder: relativePath.optional().describe('Only this folder of the repository is the application (monorepo).'),
    }),
  ])
  .transform((value) => (typeof value === 'string' ? { repository: value, subfolder: undefined } : { repository: value.repository, subfolder: value.subfolder }))
  .prefault('.')
  .describe('Where the code comes from: a git URL or a path; by default the repository in which dploy.yml stands.')

const build = z.strictObject({
  command: command.optional().describe('Runs once per revision, in a clean checkout, before anything is shipped.'),
  ship: z.array(relativePath).min(1).optional().describe('What to ship, relative to the checkout; by default everything.'),
  leave_out: z.array(z.string().min(1)).default([]).describe('Glob patterns of what not to ship.'),
  cache: z.array(relativePath).default([]).describe('Folders kept from one build to the next (node_modules, vendor/bundle).'),
  variables: variables.default({}),
  timeout: durationOr('15m', 'How long the build may take.'),
})

const release = z.strictObject({
  directory: absolutePath.optional().describe('Where releases live on a server; by default /srv/APPLICATION.'),
  keep: z.number().int().min(1).max(1000).default(5).describe('How many earlier releases stay ready for rollback.'),
  shared: z.array(relativePath).default([]).describe('Paths that outlive a release (log, public/uploads): links into shared/.'),
})

const healthDetails = z.strictObject({
  path: z.string().startsWith('/').default('/').describe('Asked by HTTP on the service port.'),
  status: z.array(z.number().int().min(100).max(599)).min(1).optional().describe('Which answers are healthy; by default 200 to 399.'),
  host: z.string().optional().describe('The Host header of the check; by default localhost.'),
  timeout: durationOr('30s', 'How long a start may take until the first healthy answer.'),
  answer_within: durationOr('2s', 'How long one answer may take.'),
  interval: durationOr('50ms', 'Between two checks while deploying.'),
  successes: z.number().int().min(1).max(100).default(1).describe('Healthy answers in a row that are asked for.'),
})
const health = z.union([z.string().startsWith('/'), healthDetails]).transform((value) => (typeof value === 'string' ? healthDetails.parse({ path: value }) : value))

const stopSignal = z.enum(['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH', 'SIGKILL'])

const service = z
  .strictObject({
    command: command.optional().describe('Starts the application, in the release directory; it must stay in the foreground.'),
    port: portNumber.optional().describe('Given to the process as PORT; the health check asks there. Instance N gets port + N - 1.'),
    health: health.prefault('/').describe('The health check: a path, or its details.'),
    instances: z.number().int().min(1).max(64).default(1).describe('Processes per server.'),
    stop: z
      .strictObject({ signal: stopSignal.default('SIGTERM'), timeout: durationOr('10s', 'After this the process is killed.') })
      .prefault({})
      .describe('How the old process is ended.'),
    manager: z.enum(['auto', 'systemd', 'process', 'command']).default('auto').describe('Who keeps the process: systemd (the default where it is PID 1), process (a keeper of dploy), command (your own).'),
    restart: command.optional().describe('Manager command: makes the running service use the current release.'),
    status: command.optional().describe('Manager command: exits 0 while the service runs.'),
    logs: command.optional().describe('Manager command: prints the service log.'),
    user: z.string().regex(/^[a-z_][a-z0-9_-]*$/).optional().describe('The user the service runs as; by default the one the agent runs as.'),
  })
  .superRefine((value, context) => {
    if (value.manager === 'command' && value.restart === undefined) context.addIssue({ code: 'custom', path: ['restart'], message: 'manager command needs restart: the command that restarts the service' })
    if (value.manager !== 'command' && value.command === undefined) context.addIssue({ code: 'custom', path: ['command'], message: 'the service needs a command that starts it' })
    if (value.port !== undefined && value.port + value.instances - 1 > 65_535) context.addIssue({ code: 'custom', path: ['port'], message: 'port + instances is over 65535' })
  })

const commandWithTimeout = (timeout: string) =>
  z
    .union([command, z.strictObject({ command, timeout: durationOr(timeout, 'After this its whole process group is ended.') })])
    .transform((value) => (typeof value === 'string' ? { command: value, timeout: parseDuration(timeout) } : value))

const hooks = z.strictObject({
  after_stage: commandWithTimeout('10m').optional().describe('On each server, in the new release, before anything is switched (dependency installs).'),
  before_activate: commandWithTimeout('2m').optional().describe('On each server, after it was drained.'),
  after_activate: commandWithTimeout('2m').optional().describe('On each server, once it is healthy, before it is registered.'),
})

const server = z
  .union([
    name,
    z.strictObject({
      name: name.describe('How dploy, and the balancer, call it.'),
      address: z.string().min(1).optional().describe('How to reach it: host, user@host:port, or an alias of your ssh config; by default its name.'),
      port: portNumber.optional().describe('Where the service listens on this server, when not on service.port.'),
      tags: z.record(name, z.string()).default({}),
    }),
  ])
  .transform((value): { name: string; address?: string | undefined; port?: number | undefined; tags: Record<string, string> } => (typeof value === 'string' ? { name: value, tags: {} } : value))

const oneOrMore = (text: string) =>
  z
    .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
    .transform((value) => (typeof value === 'string' ? [value] : value))
    .describe(text)

const balancer = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('haproxy'),
    address: oneOrMore('Runtime API of each HAProxy: unix:/run/haproxy/admin.sock or tcp:HOST:PORT, level admin.'),
    backend: oneOrMore('The backends that the servers stand in.'),
  }),
  z.strictObject({ kind: z.literal('builtin'), address: z.string().describe('Control address of the built-in balancer of dploy demo.') }),
  z.strictObject({ kind: z.literal('none') }),
])

const share = z.union([z.number().int().min(1), z.string().regex(/^(100|[1-9]?\d)%$/, 'write a number of servers or a share such as 25%')])

const strategy = z
  .strictObject({
    kind: z.enum(['rolling', 'all-at-once']).default('rolling'),
    batch: share.default('25%').describe('How many servers switch together: a number, or a share of them.'),
    max_failures: z.number().int().min(0).default(0).describe('How many servers may fail and be left drained before the deployment rolls back.'),
    max_unavailable: z.number().int().min(0).default(0).describe('How many servers may be out of reach at the start; they converge when they return.'),
    bake: durationOr('2s', 'How long the new release must keep serving after the last batch.'),
    bake_batch: durationOr('0s', 'How long each batch must keep serving before the next one.'),
  })
  .prefault({})

const timeouts = z
  .strictObject({
    reach: durationOr('15s', 'How long to wait for a server that is not connected.'),
    stage: durationOr('10m', 'Staging, all of it.'),
    drain: durationOr('30s', 'At most this long for requests in flight on one server.'),
    activate: durationOr('2m', 'Switch, start and health check of one server.'),
    register: durationOr('30s', 'Until the balancer sees a server up.'),
  })
  .prefault({})

const environment = z
  .strictObject({
    branch: z.string().min(1).optional().describe('Deployed when no revision is named; by default the HEAD of the source.'),
    servers: z.array(server).default([]),
    balancer: balancer.prefault({ kind: 'none' }),
    probe: z.url({ protocol: /^https?$/ }).optional().describe('An address of the application through the balancer, asked at least every 50 ms during a deployment.'),
    strategy,
    timeouts,
    variables: variables.default({}),
  })
  .superRefine((value, context) => {
    const seen = new Set<string>()
    value.servers.forEach((one, index) => {
      if (seen.has(one.name)) context.addIssue({ code: 'custom', path: ['servers', index], message: `the server ${one.name} stands twice` })
      seen.add(one.name)
    })
  })

export const configSchema = z.strictObject({
  application: name.describe('The name of the application.'),
  source,
  build: build.prefault({}),
  release: release.prefault({}),
  service: service.optional().describe('What runs; leave it out for files that another program serves.'),
  hooks: hooks.prefault({}),
  release_command: commandWithTimeout('10m').optional().describe('Runs once per deployment, on one server, before the first one is switched (a migration).'),
  variables: variables.default({}),
  environments: z
    .record(name, environment)
    .refine((value) => Object.keys(value).length > 0, 'name at least one environment')
    .describe('Where it is deployed.'),
})

/** dploy.yml as it was read: defaults filled in, durations in milliseconds. */
export type Config = z.output<typeof configSchema>
export type ConfigInput = z.input<typeof configSchema>
export type EnvironmentConfig = Config['environments'][string]
export type ServerConfig = EnvironmentConfig['servers'][number]
export type BalancerConfig = EnvironmentConfig['balancer']
export type BuildConfig = Config['build']
export type ServiceConfig = NonNullable<Config['service']>
export type HealthConfig = ServiceConfig['health']
