import * as z from 'zod'
import { absolutePath, durationOr, name, portNumber, secrets, text, urlPath, variables, word } from './values.ts'
import { balancer } from './balancer.ts'
import { strategy } from './strategy.ts'

const serverDetails = z.strictObject({
  name: name.meta({ description: 'How dploy, and the balancer, call it.', examples: ['web1'] }),
  address: text('a host, user@host:port or an alias of your ssh config', /^[^\s\0-][^\s\0]*$/)
    .optional()
    .meta({
      description:
        'Where it is: host, user@host:port, or an alias of your ssh config; by default its name. Without a control plane dploy reaches it there by ssh; with one it is for people: its agent dials in by itself.',
      examples: ['deploy@web1.example.com'],
    }),
  port: portNumber
    .optional()
    .meta({ description: 'Where the service listens on this server, when not on service.port.', examples: [3001] }),
  tags: z
    .record(name, word)
    .default({})
    .meta({ description: 'Words of your own about the server.', examples: [{ zone: 'a' }] }),
})
const server = z
  .union([name, serverDetails])
  .transform(
    (value): { name: string; address?: string | undefined; port?: number | undefined; tags: Record<string, string> } =>
      typeof value === 'string' ? { name: value, tags: {} } : value,
  )

const timeouts = z.strictObject({
  reach: durationOr('15s', 'How long to wait for a server that is not connected.'),
  stage: durationOr('10m', 'Staging, all of it.'),
  drain: durationOr('30s', 'At most this long for requests in flight on one server.', 0),
  activate: durationOr('2m', 'Switch, start and health check of one server.'),
  register: durationOr('30s', 'Until the balancer sees a server up.'),
})

const probeUrl = z
  .url({ protocol: /^https?$/ })
  .meta({ title: 'an http or https address', examples: ['https://shop.example.com/healthz'] })
const probe = z
  .union([
    probeUrl,
    z.strictObject({
      url: probeUrl.describe('What is asked, through the balancer.'),
      interval: durationOr('50ms', 'Between two requests; 5 ms to 50 ms.').refine(
        (value) => value >= 5 && value <= 50,
        'must be from 5ms to 50ms',
      ),
      post: urlPath.optional().meta({
        description:
          'A path at the same host that takes a POST without a body; half of the requests ask it. By default nothing is asked by POST.',
        examples: ['/probe'],
      }),
    }),
  ])
  .transform((value): { url: string; interval: number; post?: string | undefined } =>
    typeof value === 'string' ? { url: value, interval: 50 } : value,
  )

const branchRule = text('the name of a branch, or a glob such as release/*', /^[^-\s\0][^\s\0]*$/)

/** Where a release goes, and how. */
export const environment = z
  .strictObject({
    branch: text('the name of a branch', /^[^-\s\0][^\s\0]*$/)
      .optional()
      .meta({
        description: 'Deployed when no revision is named; by default the HEAD of the source.',
        examples: ['main'],
      }),
    on_push: z
      .union([z.boolean(), branchRule, z.array(branchRule).min(1)])
      .default(true)
      .transform((value) => (typeof value === 'string' ? [value] : value))
      .meta({
        title: 'true, false, or names or globs of branches',
        description:
          'Which pushes start a deployment where a webhook tells of them: true: those to its branch; false: none; or branches by name or glob.',
        examples: [['main', 'release/*']],
      }),
    servers: z
      .array(server)
      .default([])
      .meta({
        title: 'a list of servers',
        description: 'The servers: names, or their details.',
        examples: [['web1', 'web2']],
      }),
    directory: absolutePath.optional().meta({
      description:
        'Where releases of this environment live on its servers; by default release.directory. Two environments on one machine need two.',
      examples: ['/srv/shop-staging'],
    }),
    badge: z
      .enum(['none', 'token', 'public'])
      .default('none')
      .describe('Who may see the status badge: nobody, who has its address with a token, or everybody.'),
    protected: z
      .boolean()
      .default(false)
      .describe('A deployment waits until another person approves it. Rollbacks do not wait.'),
    balancer: balancer.prefault({ kind: 'none' }).meta({
      title: 'a mapping whose key "kind" is "haproxy", "nginx", "caddy", "aws", "command", "builtin" or "none"',
      description: 'What takes servers out of traffic and puts them back.',
    }),
    probe: probe.optional().meta({
      title: 'an http or https address, or a mapping with url, interval and post',
      description:
        'An address of the application through the balancer, asked at least every 50 ms during a deployment.',
      examples: ['https://shop.example.com/healthz'],
    }),
    strategy: strategy.prefault({}).describe('How the servers are switched.'),
    timeouts: timeouts.prefault({}).describe('How long the parts of a deployment may take.'),
    variables: variables('Environment variables in this environment; they win over those of the application.', [
      { LOG_LEVEL: 'info' },
    ]),
    secrets: secrets('Names of further secrets in this environment.', ['NEW_RELIC_KEY']),
  })
  .superRefine((value, context) => {
    const seen = new Set<string>()
    value.servers.forEach((one, index) => {
      if (seen.has(one.name))
        context.addIssue({ code: 'custom', path: ['servers', index], message: `the server "${one.name}" stands twice` })
      seen.add(one.name)
    })
  })
