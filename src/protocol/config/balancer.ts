import * as z from 'zod'
import { absolutePath, command, durationOr, name, text, urlPath } from './values.ts'

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
const checkPath = urlPath.optional().meta({
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
/** What takes servers out of traffic, by kind. */
export const balancer = z.discriminatedUnion('kind', [
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
    servers: serverAddresses.default({}).meta({
      description:
        'The addresses in the upstream by the name of the server, where neither the host is that name nor a comment behind the line begins with it.',
      examples: [{ web1: '10.0.0.11:3000' }],
    }),
    check: checkPath,
    test: command.default('nginx -T').meta({
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
    servers: serverAddresses.default({}).meta({
      description: 'The addresses ("dial") in the handler by the name of the server, where the host is not that name.',
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
