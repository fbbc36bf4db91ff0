import * as z from 'zod'
import { hooks, releaseCommand } from './commands.ts'
import { environment } from './environment.ts'
import { notifySchema } from './notify.ts'
import { service } from './service.ts'
import { absolutePath, command, durationOr, name, relativePath, secrets, text, variables } from './values.ts'

/**
 * The schema of dploy.yml: the one description from which validation, the JSON Schema for editors, `dploy init`'s
 * comments and the reference in docs/ are made. Durations become milliseconds.
 *
 * `title` says in plain words what a value has to be; error messages and the reference use it. `examples` holds what a
 * person would write. Only raw text goes in: a `Config` that was read once must not be parsed again (a bare number is
 * seconds in the file and milliseconds in a `Config`).
 */

/** No leading "-": what comes from outside must never be taken for an option of git or ssh. */
const repository = text('a git URL or a path', /^[^-\s\0][^\0\n\r]*$/)

const sourceDetails = z.strictObject({
  repository: repository.meta({
    description: 'A git URL, or a path relative to dploy.yml.',
    examples: ['git@github.com:example/shop.git'],
  }),
  subfolder: relativePath
    .optional()
    .meta({ description: 'Only this folder of the repository is the application (monorepo).', examples: ['apps/web'] }),
})
const source = z
  .union([repository, sourceDetails])
  .transform((value) =>
    typeof value === 'string'
      ? { repository: value, subfolder: undefined }
      : { repository: value.repository, subfolder: value.subfolder },
  )
  .prefault('.')
  .meta({
    description: 'Where the code comes from: a git URL or a path; by default the repository in which dploy.yml stands.',
    examples: ['git@github.com:example/shop.git'],
  })

const build = z.strictObject({
  command: command.optional().meta({
    description: 'Runs once per revision, in a clean checkout, before anything is shipped.',
    examples: ['npm ci && npm run build'],
  }),
  ship: z
    .array(relativePath)
    .min(1)
    .optional()
    .meta({
      description: 'What to ship, relative to the checkout; by default everything.',
      examples: [['dist', 'package.json']],
    }),
  leave_out: z
    .array(text('a glob pattern', /^[^\0]+$/))
    .default([])
    .meta({ description: 'Glob patterns of what not to ship.', examples: [['test/**', '**/*.map']] }),
  cache: z
    .array(relativePath)
    .default([])
    .meta({ description: 'Folders kept from one build to the next.', examples: [['.next/cache']] }),
  variables: variables('Environment variables of the build command.', [{ CI: 'true' }]),
  timeout: durationOr('15m', 'How long the build may take.'),
})

const release = z.strictObject({
  directory: absolutePath
    .optional()
    .meta({ description: 'Where releases live on a server; by default /srv/APPLICATION.', examples: ['/srv/shop'] }),
  keep: z.number().int().min(1).max(1000).default(5).describe('How many earlier releases stay ready for rollback.'),
  shared: z
    .array(relativePath)
    .default([])
    .meta({ description: 'Paths that outlive a release: links into shared/.', examples: [['log', 'public/uploads']] }),
  writable: z
    .array(relativePath)
    .default([])
    .meta({
      description:
        'Paths of each release that the service may write to: its own files, of service.user. Everything else in a release is as shipped, and what was written to it all the same is put back before the release is started again.',
      examples: [['tmp', 'bootstrap/cache']],
    }),
  assets: z
    .array(relativePath)
    .default([])
    .meta({
      description:
        'Paths whose files are served by both releases while both run: pages of one may ask a server of the other for them.',
      examples: [['public/assets']],
    }),
})

export const configSchema = z.strictObject({
  application: name.meta({ description: 'The name of the application.', examples: ['shop'] }),
  source,
  build: build.prefault({}).describe('How a revision becomes the files that are shipped.'),
  release: release.prefault({}).describe('How releases stand on a server.'),
  service: service.optional().describe('What runs; leave it out for files that another program serves.'),
  hooks: hooks.prefault({}).describe('Your commands at named points of a deployment.'),
  release_command: releaseCommand.optional().meta({
    description: 'Runs once per deployment, on one server, before the first one is switched (a migration).',
    examples: ['bin/rails db:migrate'],
  }),
  variables: variables('Environment variables of the service, the hooks and the release command.', [
    { NODE_ENV: 'production' },
  ]),
  secrets: secrets(
    'Names of secrets that come as environment variables too. Their values are set by `dploy secret set`, for each environment.',
    ['DATABASE_URL'],
  ),
  notify: notifySchema,
  environments: z
    .record(name, environment)
    .refine((value) => Object.keys(value).length > 0, 'name at least one environment')
    .meta({
      title: 'environments by name, such as production, each with its servers',
      description: 'Where it is deployed, by name: production, staging.',
    }),
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

/** Where the releases of an environment live on its servers. */
export function releaseDirectory(
  config: Pick<Config, 'application' | 'release' | 'environments'>,
  environment: string,
): string {
  return config.environments[environment]?.directory ?? config.release.directory ?? `/srv/${config.application}`
}
