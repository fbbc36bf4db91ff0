import { Command } from 'commander'
import { rightSchema } from '../../protocol/api/access.ts'
import { parseDuration } from '../../protocol/duration.ts'
import { DployError } from '../../protocol/errors.ts'
import { table } from '../../protocol/terminal.ts'
import { ago } from '../ago.ts'
import { makeOutput } from '../output.ts'
import { readTags } from '../exec/tags.ts'
import { placesOf } from '../places.ts'
import { openControlPlane } from '../server/connection.ts'

/** Milliseconds. */
const day = 24 * 3_600_000

/** `dploy token`: what lets programs use the API, and agents join. */
export function tokenCommand(): Command {
  return new Command('token')
    .description('tokens with which programs use the API, and agents join')
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(revokeCommand())
    .addCommand(joinCommand())
}

function createCommand(): Command {
  return new Command('create')
    .description('an API token, for CI and other programs; it is shown once')
    .argument('<note>', 'what it is for')
    .option('--right <right>', 'read, deploy or administer', 'read')
    .option('--in <environment>', 'only there: production, or shop/production; can be given several times', collect, [])
    .option('--days <n>', 'how long it is valid; 0: for ever', '90')
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      '\nExamples:\n  $ dploy token create ci --right deploy --in production --days 365\n  $ DPLOY_URL=https://dploy.example.org DPLOY_TOKEN=dploy_api_… dploy deploy production',
    )
    .action(
      async (note: string, options: { right: string; in: string[]; days: string; json: boolean }, command: Command) => {
        const output = makeOutput(options)
        const right = rightSchema.safeParse(options.right)
        if (!right.success)
          throw new DployError('request.invalid', `"${options.right}" is no right`, {
            fix: `Give one of: ${rightSchema.options.join(', ')}`,
          })
        const days = Number(options.days)
        if (!Number.isInteger(days) || days < 0)
          throw new DployError('request.invalid', `--days ${options.days} is no number of days`, {
            fix: 'For example: --days 90',
          })
        await using connection = await openControlPlane(command)
        const places =
          options.in.length === 0
            ? null
            : await placesOf(connection.client, connection.project?.config.application ?? null, options.in)
        const { token, entry } = await connection.client.call('createToken', {
          body: { note, right: right.data, places, days: days === 0 ? null : days },
        })
        if (output.mode === 'json') return output.result({ token, entry })
        output.line(token)
      },
    )
}

function listCommand(): Command {
  return new Command('list')
    .description('the API tokens there are, never the tokens themselves')
    .option('--json', 'one JSON object a line', false)
    .action(async (options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using connection = await openControlPlane(command)
      const { tokens } = await connection.client.call('tokens')
      if (output.mode === 'json') return tokens.forEach((token) => output.json({ type: 'token', ...token }))
      if (tokens.length === 0) return output.line('None. Make one: dploy token create NOTE --right deploy')
      const now = Date.now()
      const rows = tokens.map((token) => [
        token.id,
        token.note,
        token.right,
        token.places === null
          ? 'everywhere'
          : token.places.map(({ application, environment }) => `${application}/${environment}`).join(', '),
        token.owner?.name ?? '',
        token.expiresAt === null
          ? 'always valid'
          : token.expiresAt <= now
            ? 'expired'
            : `for ${Math.ceil((token.expiresAt - now) / day)} days`,
        token.usedAt === null ? 'never used' : `used ${ago(token.usedAt, now)}`,
      ])
      for (const line of table([['', 'for', 'may', 'where', 'whose', '', ''], ...rows], output.width()))
        output.line(line)
    })
}

function revokeCommand(): Command {
  return new Command('revoke')
    .description('end an API token')
    .argument('<id>', 'as dploy token list shows it')
    .option('--json', 'one JSON object a line', false)
    .action(async (id: string, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using connection = await openControlPlane(command)
      await connection.client.call('revokeToken', { params: { token: id } })
      if (output.mode === 'json') return output.result({ revoked: id })
      output.line('It is refused from now on.')
    })
}

function joinCommand(): Command {
  return new Command('join')
    .description('a token with which agents join; it is shown once')
    .option('--uses <n>', 'how many agents may join with it', '1')
    .option('--for <time>', 'how long it is valid', '1h')
    .option(
      '--environment <name>',
      'whoever joins with it belongs to this environment; can be given several times',
      collect,
      [],
    )
    .option('--tag <key=value>', 'tags that they get there; can be given several times', collect, [])
    .option('--note <text>', 'what it is for', '')
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      '\nExamples:\n  $ dploy token join\n  $ dploy token join --uses 20 --for 24h --environment production --tag role=web',
    )
    .action(
      async (
        options: { uses: string; for: string; environment: string[]; tag: string[]; note: string; json: boolean },
        command: Command,
      ) => {
        const output = makeOutput(options)
        const uses = Number(options.uses)
        if (!Number.isInteger(uses) || uses < 1)
          throw new DployError('request.invalid', `--uses ${options.uses} is no number of agents`, {
            fix: 'For example: --uses 20',
          })
        const duration = parseDuration(options.for)
        await using connection = await openControlPlane(command)
        if (options.environment.length > 0 && connection.project === null)
          throw new DployError('config.missing', 'Which application? There is no dploy.yml here to say', {
            fix: 'Run it where the dploy.yml of the application is',
          })
        const environments = options.environment.map((environment) => ({
          application: connection.project!.config.application,
          environment,
        }))
        if (connection.project && environments.length > 0)
          await connection.client.call('apply', {
            body: { text: connection.project.text, fileName: connection.project.file, base: connection.project.base },
          })
        const { token } = await connection.client.call('createJoinToken', {
          body: { uses, minutes: duration / 60_000, environments, tags: readTags(options.tag), note: options.note },
        })
        if (output.mode === 'json') return output.result({ token })
        output.line(token)
      },
    )
}

function collect(value: string, before: string[]): string[] {
  return [...before, value]
}
