import { Command } from 'commander'
import type { ReleaseReadiness } from '../protocol/api/environments.ts'
import { formatBytes } from '../protocol/bytes.ts'
import { table } from '../protocol/terminal.ts'
import { ago } from './ago.ts'
import { makeOutput } from './output.ts'
import { openSession } from './session.ts'

export function releasesCommand(): Command {
  return new Command('releases')
    .description('the releases of an environment, the newest first')
    .argument('[environment]')
    .option('--limit <n>', 'how many', '30')
    .option(
      '--ready',
      'ask the servers too where it needs ssh to reach them; with a control plane they are always asked',
      false,
    )
    .option('--json', 'one JSON object a line', false)
    .addHelpText('after', '\nExample:\n  $ dploy releases production --limit 5')
    .action(
      async (
        environment: string | undefined,
        options: { limit: string; ready: boolean; json: boolean },
        command: Command,
      ) => {
        const output = makeOutput(options)
        await using session = await openSession(command, environment, { ahead: options.ready })
        const { releases } = await session.client.call('releases', {
          params: session.params,
          query: { limit: options.limit },
        })
        const limit = Math.min(200, Number(options.limit) || 30)
        const readiness =
          session.embedded && !options.ready
            ? null
            : await session.client.call('releaseReadiness', { params: session.params, query: { limit } })
        const ready = new Map(readiness?.releases.map((one) => [one.number, one]))
        if (output.mode === 'json')
          return releases.forEach((release) =>
            output.json({
              type: 'release',
              ...release,
              ...(ready.has(release.number) && {
                readiness: {
                  ...ready.get(release.number),
                  answering: readiness!.answering,
                  servers: readiness!.servers,
                },
              }),
            }),
          )
        if (releases.length === 0)
          return output.line(`No releases yet. Run: dploy deploy ${session.params.environment}`)
        const rows = releases.map(({ number, revision, createdAt, wanted }) => [
          wanted ? '→' : '',
          String(number),
          (revision.commit ?? 'upload').slice(0, 7),
          revision.subject,
          revision.author,
          ago(createdAt, Date.now()),
          ...(readiness === null ? [] : [readinessText(ready.get(number), readiness.answering)]),
        ])
        for (const line of table(
          [
            ['', 'release', 'commit', 'subject', 'author', 'made', ...(readiness === null ? [] : ['rollback'])],
            ...rows,
          ],
          output.width(),
        ))
          output.line(line)
        if (readiness !== null && readiness.silent.length > 0)
          output.line(
            `${readiness.servers - readiness.answering} of ${readiness.servers} servers do not answer: ${readiness.silent.join(', ')}${readiness.servers - readiness.answering > readiness.silent.length ? ', …' : ''}`,
          )
      },
    )
}

/** `ready on 3 of 3`; `2 of 3; 38 KB to web3`. */
function readinessText(readiness: ReleaseReadiness | undefined, answering: number): string {
  if (readiness === undefined || answering === 0) return ''
  const { ready, lacking, lackingServers } = readiness
  if (lackingServers === 0) return `ready on ${ready} of ${answering}`
  const { server, bytes } = lacking.toSorted((a, b) => (b.bytes ?? 0) - (a.bytes ?? 0))[0]!
  return `ready on ${ready} of ${answering}; ${bytes === null ? 'files' : formatBytes(bytes)} to ${server}${lackingServers > 1 ? ` and ${lackingServers - 1} more` : ''}`
}
