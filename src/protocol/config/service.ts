import * as z from 'zod'
import { command, durationOr, portNumber, text, urlPath } from './values.ts'

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
  command: command.optional().meta({
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

/** What runs, and how it is known to be well. */
export const service = z
  .strictObject({
    command: command.optional().meta({
      description: 'Starts the application, in the release directory; it must stay in the foreground.',
      examples: ['node server.js'],
    }),
    port: portNumber.optional().meta({
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
    restart: command.optional().meta({
      description: 'Manager command: makes the running service use the current release.',
      examples: ['systemctl reload php-fpm'],
    }),
    status: command.optional().meta({
      description: 'Manager command: exits 0 while the service runs.',
      examples: ['systemctl is-active --quiet php-fpm'],
    }),
    logs: command.optional().meta({
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
    release_ports: portRange.optional().meta({
      description: 'Handover port: the ports that releases run on in turn; by default the ten after service.port.',
      examples: ['3001-3010'],
    }),
    keep_warm: durationOr(
      '10m',
      'Handover port: how long the old release keeps running after a switch, so that a rollback is another switch.',
      0,
    ),
    replaces: z
      .array(text('the name of a systemd service', /^[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,240}\.service$/))
      .min(1)
      .optional()
      .meta({
        title: 'a list of systemd services',
        description:
          'What served before the first release, on the same port. The first activation on a server stops it; a failure starts it again; after success it is disabled, not removed.',
        examples: [['shop.service']],
      }),
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
