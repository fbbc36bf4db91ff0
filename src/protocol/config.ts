import * as z from 'zod'
import { notifySchema } from './config-notify.ts'
import { strategy } from './config-strategy.ts'
import {
  absolutePath,
  command,
  durationOr,
  name,
  portNumber,
  relativePath,
  secrets,
  text,
  urlPath,
  variables,
  word,
} from './config-values.ts'
import { parseDuration } from './duration.ts'

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
  command: command
    .optional()
    .meta({
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
  assets: z
    .array(relativePath)
    .default([])
    .meta({
      description:
        'Paths whose files are served by both releases while both run: pages of one may ask a server of the other for them.',
      examples: [['public/assets']],
    }),
})

const healthDetails = z.strictObject({
  kind: z
    .enum(['http', 'tcp'])
    .default('http')
    .describe('http: the port has to answer a request; tcp: it has to take a connection.'),
  path: urlPath.default('/').meta({ description: 'Asked by HTTP on the service port.', examples: ['/healthz'] }),
  status: z
    .array(z.number().int().min(100).max(599))
    .min(1)
    .optional()
    .meta({ description: 'Which answers are healthy; by default 200 to 399.', examples: [[200, 204]] }),
  host: text('a host name', /^[\x21-\x7e]+$/)
    .optional()
    .meta({ description: 'The Host header of the check; by default localhost.', examples: ['shop.example.com'] }),
  body: text('a text of one line', /^[^\0\n\r]+$/)
    .optional()
    .meta({ description: 'The answer has to contain this text, within its first 64 KB.', examples: ['ready'] }),
  header: z
    .record(text('the name of a header', /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/), text('a text of one line', /^[^\0\n\r]+$/))
    .default({})
    .meta({ description: 'Headers that the answer has to have, with these values.', examples: [{ 'x-ready': 'yes' }] }),
  command: command
    .optional()
    .meta({
      description:
        'Has to exit with 0 as well, in the release directory, with PORT. Without service.port it is the whole check.',
      examples: ['bin/healthy'],
    }),
  timeout: durationOr('30s', 'How long a start may take until the first healthy answer.'),
  answer_within: durationOr('2s', 'How long one answer may take.'),
  interval: durationOr('50ms', 'Between two checks while deploying.', 10),
  successes: z.number().int().min(1).max(100).default(1).describe('Healthy answers in a row that are asked for.'),
})
const health = z
  .union([urlPath, healthDetails])
  .transform((value) => (typeof value === 'string' ? healthDetails.parse({ path: value }) : value))

const stopSignal = z.enum(['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH', 'SIGKILL'])
const stop = z.strictObject({
  signal: stopSignal.default('SIGTERM').describe('The signal that asks the process to end.'),
  timeout: durationOr('10s', 'After this the process is killed.'),
})

const portRange = z
  .string()
  .regex(/^\d{1,5}-\d{1,5}$/, 'must be two ports, such as 3001-3010')
  .transform((value, context) => {
    const [from = 0, to = 0] = value.split('-').map(Number)
    if (from >= 1 && to <= 65_535 && to > from && to - from < 1000) return { from, to }
    context.addIssue({ code: 'custom', message: 'must be a range of 2 to 1000 ports between 1 and 65535' })
    return z.NEVER
  })
  .meta({ title: 'two ports, such as 3001-3010' })

const service = z
  .strictObject({
    command: command
      .optional()
      .meta({
        description: 'Starts the application, in the release directory; it must stay in the foreground.',
        examples: ['node server.js'],
      }),
    port: portNumber
      .optional()
      .meta({
        description: 'Given to the process as PORT; the health check asks there. Instance N gets port + N - 1.',
        examples: [3000],
      }),
    health: health
      .prefault('/')
      .meta({ description: 'The health check: a path, or its details.', examples: ['/healthz'] }),
    instances: z.number().int().min(1).max(64).default(1).describe('Processes per server.'),
    stop: stop.prefault({}).describe('How the old process is ended.'),
    manager: z
      .enum(['auto', 'systemd', 'process', 'command'])
      .default('auto')
      .describe(
        'Who keeps the process: systemd (the default where it is PID 1), process (a keeper of dploy), command (your own).',
      ),
    restart: command
      .optional()
      .meta({
        description: 'Manager command: makes the running service use the current release.',
        examples: ['systemctl reload php-fpm'],
      }),
    status: command
      .optional()
      .meta({
        description: 'Manager command: exits 0 while the service runs.',
        examples: ['systemctl is-active --quiet php-fpm'],
      }),
    logs: command
      .optional()
      .meta({
        description: 'Manager command: prints the service log.',
        examples: ['journalctl --unit php-fpm --lines 200'],
      }),
    handover: z
      .enum(['restart', 'socket', 'port'])
      .default('restart')
      .describe(
        'How a new release takes over on a server: restart (drain, end the old, start the new), socket (both share the listening socket that dploy holds: LISTEN_FDS), port (each release on a port of its own).',
      ),
    overlap: z
      .boolean()
      .default(true)
      .describe(
        'Whether two releases may run beside each other on a server; false: drain and restart, whatever handover says.',
      ),
    release_ports: portRange
      .optional()
      .meta({
        description: 'Handover port: the ports that releases run on in turn; by default the ten after service.port.',
        examples: ['3001-3010'],
      }),
    keep_warm: durationOr(
      '10m',
      'Handover port: how long the old release keeps running after a switch, so that a rollback is another switch.',
      0,
    ),
    user: text('a user name', /^[a-z_][a-z0-9_-]{0,31}$/)
      .optional()
      .meta({
        description: 'The user the service runs as; by default the one the agent runs as.',
        examples: ['www-data'],
      }),
  })
  .superRefine((value, context) => {
    if (value.manager === 'command' && value.restart === undefined) {
      context.addIssue({
        code: 'custom',
        path: ['manager'],
        message:
          'manager "command" needs the key "restart": the command that makes the service use the current release',
      })
    }
    if (value.manager !== 'command' && value.command === undefined) {
      context.addIssue({
        code: 'custom',
        path: ['command'],
        message: 'is missing: the command that starts the service',
      })
    }
    if (value.handover !== 'restart') {
      if (value.port === undefined)
        context.addIssue({
          code: 'custom',
          path: ['handover'],
          message: `handover "${value.handover}" needs the key "port"`,
        })
      if (value.manager === 'command')
        context.addIssue({
          code: 'custom',
          path: ['handover'],
          message: 'manager "command" cannot run two releases beside each other; leave handover out',
        })
      if (value.handover === 'port' && value.instances > 1)
        context.addIssue({
          code: 'custom',
          path: ['instances'],
          message: 'handover "port" switches one port; use handover "socket" for several instances',
        })
    }
    if (value.port !== undefined && value.instances > 1 && value.port + value.instances - 1 > 65_535) {
      context.addIssue({
        code: 'custom',
        path: ['port'],
        message: `${value.instances} instances need the ports up to ${value.port + value.instances - 1}; the last port is 65535`,
      })
    }
  })

const commandWithTimeout = (timeout: string) => {
  const details = z.strictObject({
    command: command.meta({
      description: 'The command line, run by sh in the release directory.',
      examples: ['bin/prepare'],
    }),
    timeout: durationOr(timeout, 'After this its whole process group is ended.'),
  })
  return z
    .union([command, details])
    .transform((value) => (typeof value === 'string' ? { command: value, timeout: parseDuration(timeout) } : value))
}

const releaseCommandDetails = z.strictObject({
  command: command.meta({
    description: 'The command line, run by sh in the release directory.',
    examples: ['npx knex migrate:latest'],
  }),
  timeout: durationOr('10m', 'After this its whole process group is ended.'),
  check_old: z
    .boolean()
    .default(true)
    .describe('Look afterwards whether the release that still serves is healthy, before anything is switched.'),
})
const releaseCommand = z
  .union([command, releaseCommandDetails])
  .transform((value) => (typeof value === 'string' ? releaseCommandDetails.parse({ command: value }) : value))

const hooks = z.strictObject({
  after_stage: commandWithTimeout('10m')
    .optional()
    .meta({
      description: 'On each server, in the new release, before anything is switched (dependency installs).',
      examples: ['bundle install'],
    }),
  before_activate: commandWithTimeout('2m')
    .optional()
    .meta({ description: 'On each server, after it was drained.', examples: ['bin/pause-jobs'] }),
  after_activate: commandWithTimeout('2m')
    .optional()
    .meta({ description: 'On each server, once it is healthy, before it is registered.', examples: ['bin/warm-up'] }),
})

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

const oneOrMore = (one: z.ZodString, title: string, meta: { description: string; examples: string[] }) =>
  z
    .union([one, z.array(one).min(1)])
    .transform((value) => (typeof value === 'string' ? [value] : value))
    .meta({ title: `${title}, or a list of them`, ...meta })

const runtimeAddress = 'the address of a Runtime API, such as unix:/run/haproxy/admin.sock or tcp:10.0.0.2:9999'
const logPlace = 'the path of a file, or udp:HOST:PORT'
const backendName = 'the name of a backend'
const upstreamName = 'the name of an upstream'
const hostPort = 'HOST:PORT, as the balancer writes it'
const serverAddress = text(hostPort, /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$/)
const serverAddresses = z.record(
  name,
  oneOrMore(serverAddress, hostPort, {
    description: 'Where the balancer reaches this server; several for several instances.',
    examples: ['10.0.0.11:3000'],
  }),
)
const checkPath = urlPath
  .optional()
  .meta({
    description:
      'Asked on the server before it is put back, and has to answer 200 to 399; by default its port has to take a connection.',
    examples: ['/healthz'],
  })

const targetGroup = 'the ARN of a target group'
const classicName = 'the name of a Classic Load Balancer'
const awsTarget =
  'an instance id or an IP address, when not on the port of the target group with its port: i-0598c7d356eba48d7:3000'
const adminAddress = 'the address of an admin API: tcp:HOST:PORT or unix:/run/caddy/admin.sock'
const handlerName =
  'the "@id" of a reverse_proxy handler, or its path: /config/apps/http/servers/srv0/routes/0/handle/0'
const balancer = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('haproxy').describe('HAProxy, by its Runtime API.'),
    address: oneOrMore(text(runtimeAddress, /^(unix:\/[^\s\0]*|tcp:[^\s\0]+:\d{1,5})$/), runtimeAddress, {
      description: 'Runtime API of each HAProxy: unix:/run/haproxy/admin.sock or tcp:HOST:PORT, level admin.',
      examples: ['unix:/run/haproxy/admin.sock'],
    }),
    backend: oneOrMore(text(backendName, /^[A-Za-z0-9._:-]+$/), backendName, {
      description: 'The backends that the servers stand in.',
      examples: ['web'],
    }),
    log: text(logPlace, /^(\/[^\0]*|udp:[^\s\0]+:\d{1,5})$/)
      .optional()
      .meta({
        description:
          "HAProxy's log in the format of httplog, for answer times: a file that the control plane may read, or udp:HOST:PORT, where it takes what HAProxy sends by `log HOST:PORT len 4096 local0`.",
        examples: ['udp:127.0.0.1:5514'],
      }),
  }),
  z.strictObject({
    kind: z.literal('nginx').describe('nginx on the machine of the control plane, by its upstream file and a reload.'),
    upstream_file: absolutePath.meta({
      description: 'The file in which the upstream stands. dploy changes nothing in it but the word "down".',
      examples: ['/etc/nginx/conf.d/shop-upstream.conf'],
    }),
    upstream: oneOrMore(text(upstreamName, /^[A-Za-z0-9._:-]+$/), upstreamName, {
      description: 'The upstreams in that file that the servers stand in.',
      examples: ['shop'],
    }),
    servers: serverAddresses
      .default({})
      .meta({
        description:
          'The addresses in the upstream by the name of the server, where neither the host is that name nor a comment behind the line begins with it.',
        examples: [{ web1: '10.0.0.11:3000' }],
      }),
    check: checkPath,
    test: command
      .default('nginx -T')
      .meta({
        description:
          'Tests the configuration before a reload; -T rather than -t, so that dploy sees that nginx reads the file.',
        examples: ['sudo nginx -T'],
      }),
    reload: command
      .default('nginx -s reload')
      .meta({ description: 'Makes nginx read its configuration again.', examples: ['sudo systemctl reload nginx'] }),
    pid_file: absolutePath.default('/run/nginx.pid').describe('Where nginx writes the process id of its master.'),
    reload_timeout: durationOr('10s', 'How long nginx may take to start new workers.'),
  }),
  z.strictObject({
    kind: z.literal('caddy').describe('Caddy, by its admin API.'),
    address: oneOrMore(text(adminAddress, /^(unix:\/[^\s\0]*|tcp:[^\s\0]+:\d{1,5})$/), adminAddress, {
      description: 'Admin API of each Caddy.',
      examples: ['tcp:127.0.0.1:2019'],
    }).prefault('tcp:127.0.0.1:2019'),
    handler: oneOrMore(text(handlerName, /^[^\s\0]+$/), handlerName, {
      description: 'The reverse_proxy handlers that the servers stand in.',
      examples: ['shop'],
    }),
    servers: serverAddresses
      .default({})
      .meta({
        description:
          'The addresses ("dial") in the handler by the name of the server, where the host is not that name.',
        examples: [{ web1: '10.0.0.11:3000' }],
      }),
    check: checkPath,
  }),
  z.strictObject({
    kind: z
      .literal('aws')
      .describe(
        'Elastic Load Balancing of AWS: target groups of Application and Network Load Balancers, and Classic Load Balancers.',
      ),
    target_groups: oneOrMore(
      text(targetGroup, /^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:\d{12}:targetgroup\/[^\s/]+\/[^\s/]+$/),
      targetGroup,
      {
        description: 'The target groups that the servers stand in, each by its ARN.',
        examples: ['arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/shop/73e2d6bc24d8a067'],
      },
    ).optional(),
    classic: oneOrMore(text(classicName, /^[A-Za-z0-9][A-Za-z0-9-]{0,31}$/), classicName, {
      description: 'The Classic Load Balancers that the servers stand in.',
      examples: ['shop'],
    }).optional(),
    targets: z
      .record(
        name,
        oneOrMore(
          text(awsTarget, /^(?:i-[0-9a-f]{8,17}|[0-9.]{7,15}|\[[0-9A-Fa-f:.]+\])(?::[1-9]\d{0,4})?$/),
          awsTarget,
          { description: 'What AWS calls this server; several for several ports.', examples: ['i-0598c7d356eba48d7'] },
        ),
      )
      .default({})
      .meta({
        description:
          'What AWS calls the servers, by their names; by default the instance id that each server reads from its own metadata.',
        examples: [{ web1: 'i-0598c7d356eba48d7' }],
      }),
    region: text('the name of a region', /^[a-z]{2}[a-z0-9-]+$/)
      .optional()
      .meta({
        description: 'By default that of the target groups; for classic alone that of the environment (AWS_REGION).',
        examples: ['eu-central-1'],
      }),
    endpoint: z
      .url({ protocol: /^https?$/ })
      .optional()
      .meta({
        title: 'an http or https address',
        description: 'Where the API of Elastic Load Balancing is, when not at its public address: a VPC endpoint.',
        examples: ['https://vpce-0d2f.elasticloadbalancing.eu-central-1.vpce.amazonaws.com'],
      }),
  }),
  z.strictObject({
    kind: z
      .literal('command')
      .describe('Any other balancer, by your own commands on the machine of the control plane.'),
    drain: command.meta({
      description:
        'Takes DPLOY_SERVER out of traffic, waits up to DPLOY_TIMEOUT seconds for its requests in flight, and exits with 0.',
      examples: ['/usr/local/bin/balancer out "$DPLOY_ADDRESS"'],
    }),
    register: command.meta({
      description:
        'Puts DPLOY_SERVER back, waits up to DPLOY_TIMEOUT seconds until the balancer sees it up, and exits with 0.',
      examples: ['/usr/local/bin/balancer in "$DPLOY_ADDRESS"'],
    }),
    servers: z
      .record(
        name,
        text('an address', /^[^\0]+$/).meta({
          description: 'Given to the commands as DPLOY_ADDRESS.',
          examples: ['10.0.0.11:3000'],
        }),
      )
      .default({})
      .meta({
        description: 'The address of each server, given to the commands as DPLOY_ADDRESS; by default its name.',
        examples: [{ web1: '10.0.0.11:3000' }],
      }),
    timeout: durationOr('2m', 'After this a command is ended, with all that it started.'),
  }),
  z.strictObject({
    kind: z.literal('builtin').describe('The small balancer of dploy demo.'),
    address: text('an address', /^[^\s\0]+$/).meta({
      description: 'Control address of the built-in balancer of dploy demo.',
      examples: ['127.0.0.1:8404'],
    }),
  }),
  z.strictObject({
    kind: z.literal('none').describe('No balancer: a server is seen by its users while it is switched.'),
  }),
])

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
      post: urlPath
        .optional()
        .meta({
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

const environment = z
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
    directory: absolutePath
      .optional()
      .meta({
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
    balancer: balancer
      .prefault({ kind: 'none' })
      .meta({
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

export const configSchema = z.strictObject({
  application: name.meta({ description: 'The name of the application.', examples: ['shop'] }),
  source,
  build: build.prefault({}).describe('How a revision becomes the files that are shipped.'),
  release: release.prefault({}).describe('How releases stand on a server.'),
  service: service.optional().describe('What runs; leave it out for files that another program serves.'),
  hooks: hooks.prefault({}).describe('Your commands at named points of a deployment.'),
  release_command: releaseCommand
    .optional()
    .meta({
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
