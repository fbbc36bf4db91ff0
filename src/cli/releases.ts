import { Command } from 'commander'
import { table } from '../protocol/terminal.ts'
import { ago } from './ago.ts'
import { makeOutput } from './output.ts'
import { openSession } from './session.ts'

export function releasesCommand(): Command {
  return new Command('releases')
    .description('the releases of an environment, the newest first')
    .argument('[environment]')
    .option('--limit <n>', 'how many', '30')
    .option('--json', 'one JSON object a line', false)
    .addHelpText('after', '\nExample:\n  $ dploy releases production --limit 5')
    .action(async (environment: string | undefined, options: { limit: string; json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using session = await openSession(command, environment)
      const { releases } = await session.client.call('releases', { params: session.params, query: { limit: options.limit } })
      if (output.mode === 'json') return releases.forEach((release) => output.json({ type: 'release', ...release }))
      if (releases.length === 0) return output.line(`No releases yet. Run: dploy deploy ${session.params.environment}`)
      const rows = releases.map(({ number, revision, createdAt, wanted }) => [wanted ? '→' : '', String(number), (revision.commit ?? 'upload').slice(0, 7), revision.subject, revision.author, ago(createdAt, Date.now())])
      for (const line of table([['', 'release', 'commit', 'subject', 'author', 'made'], ...rows], output.width())) output.line(line)
    })
}
