import { Command } from 'commander'
import type { AuditEntry } from '../protocol/api/audit.ts'
import { parseDuration } from '../protocol/duration.ts'
import { DployError } from '../protocol/errors.ts'
import { table } from '../protocol/terminal.ts'
import { ago } from './ago.ts'
import { makeOutput } from './output.ts'
import { placesOf } from './places.ts'
import { openControlPlane } from './server/connection.ts'

interface Options {
  who?: string
  action?: string
  in?: string
  since?: string
  limit: string
  export?: string
  json: boolean
}

/** `dploy audit`: who changed what. */
export function auditCommand(): Command {
  return new Command('audit')
    .description('who changed what, from where: the newest last')
    .option('--who <name>', 'only what they did')
    .option('--action <name>', 'only this: deploy, rollback, setSecret, exec, …')
    .option('--in <environment>', 'only there: production, or shop/production')
    .option('--since <time>', 'only so far back: 24h')
    .option('--limit <n>', 'how many', '50')
    .option('--export <format>', 'everything, as csv or ndjson, to standard output')
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      '\nExamples:\n  $ dploy audit --in production --since 24h\n  $ dploy audit --export csv > audit.csv',
    )
    .action(async (options: Options, command: Command) => {
      const output = makeOutput(options)
      const limit = Number(options.limit)
      if (!Number.isInteger(limit) || limit < 1 || limit > 500)
        throw new DployError('request.invalid', `"${options.limit}" is no number from 1 to 500`)
      const since = options.since === undefined ? undefined : Date.now() - parseDuration(options.since)
      await using connection = await openControlPlane(command)
      const [place] =
        options.in === undefined
          ? []
          : await placesOf(connection.client, connection.project?.config.application ?? null, [options.in])
      const filter = {
        who: options.who,
        action: options.action,
        application: place?.application,
        environment: place?.environment,
        since,
      }
      if (options.export !== undefined) {
        if (options.export !== 'csv' && options.export !== 'ndjson')
          throw new DployError('request.invalid', `"${options.export}" is neither csv nor ndjson`)
        for await (const piece of connection.client.text('exportAudit', {
          query: { ...filter, format: options.export },
        }))
          if (!process.stdout.write(piece)) await new Promise((resolve) => process.stdout.once('drain', resolve))
        return
      }
      const { entries } = await connection.client.call('audit', { query: { ...filter, limit } })
      if (output.mode === 'json')
        return entries.toReversed().forEach((entry) => output.json({ type: 'entry', ...entry }))
      if (entries.length === 0) return output.line('Nothing.')
      const rows = entries
        .toReversed()
        .map((entry) => [
          ago(entry.at, Date.now()),
          entry.who.split(/ <|, /)[0]!,
          entry.address,
          entry.action,
          entry.application === null ? '' : `${entry.application}/${entry.environment ?? ''}`,
          whatOf(entry),
        ])
      for (const line of table([['', 'who', 'from', 'action', 'where', ''], ...rows], output.width())) output.line(line)
    })
}

function whatOf(entry: AuditEntry): string {
  return [
    entry.subject ?? '',
    entry.outcome === 'done' ? '' : `${entry.outcome}${entry.problem === null ? '' : `: ${entry.problem}`}`,
  ]
    .filter(Boolean)
    .join(' · ')
}
