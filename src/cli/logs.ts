import { Command } from 'commander'
import { harmlessLines } from '../protocol/control-characters.ts'
import { parseDuration } from '../protocol/duration.ts'
import { DployError } from '../protocol/errors.ts'
import { makeOutput } from './output.ts'
import { ServerLabels } from './exec/server-lines.ts'
import { openSession } from './session.ts'
import { plainLine } from './view/plain.ts'

export function logsCommand(): Command {
  return new Command('logs')
    .description('what the application prints, from all servers, in order of time; or the log of a deployment')
    .argument('[environment]')
    .option('-f, --follow', 'go on with what comes', false)
    .option('-n, --lines <n>', 'how many lines of each server', '50')
    .option('--since <when>', 'nothing older: a duration such as 10m, or a time such as 2026-11-24T10:00')
    .option('--grep <text>', 'only lines with this text; without upper case in it, in any case')
    .option('--on <server>', 'only this server')
    .option('--deployment <number>', 'the log of this deployment instead: build, hooks, steps')
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      '\nExamples:\n  $ dploy logs production --follow\n  $ dploy logs production --on web1 -n 200\n  $ dploy logs production --since 1h --grep error\n  $ dploy logs --deployment 128',
    )
    .action(
      async (
        environment: string | undefined,
        options: {
          follow: boolean
          lines: string
          since?: string
          grep?: string
          on?: string
          deployment?: string
          json: boolean
        },
        command: Command,
      ) => {
        const output = makeOutput(options)
        const stop = new AbortController()
        const interrupt = () => stop.abort(new Error('interrupted'))
        // Stays: with none, connect.ts would end this process before what it has is given back.
        process.on('SIGINT', interrupt)
        await using session = await openSession(command, environment, { any: options.deployment !== undefined })
        try {
          if (options.deployment !== undefined) {
            const number = Number(options.deployment)
            if (!Number.isInteger(number))
              throw new DployError('request.invalid', `"${options.deployment}" is not the number of a deployment`, {
                fix: 'Run: dploy deployments',
              })
            let began: number | null = null
            for await (const event of session.client.stream(
              'deploymentEvents',
              { params: { number }, query: {} },
              { signal: stop.signal },
            )) {
              began ??= event.at
              const line = plainLine(event, began)
              if (output.mode === 'json') output.json(event)
              else if (line !== null) output.line(line)
            }
            return
          }
          const query = {
            lines: options.lines,
            follow: options.follow ? ('true' as const) : ('false' as const),
            ...(options.on === undefined ? {} : { server: options.on }),
            ...(options.since === undefined ? {} : { since: readTime(options.since, Date.now()) }),
            ...(options.grep === undefined ? {} : { grep: options.grep }),
          }
          const { environments } = session.project.config
          const labels = new ServerLabels(
            output.color,
            options.on === undefined
              ? environments[session.params.environment]!.servers.map(({ name }) => name)
              : [options.on],
          )
          for await (const line of session.client.stream(
            'logs',
            { params: session.params, query },
            { signal: stop.signal },
          )) {
            if (output.mode === 'json') {
              output.json(line)
              continue
            }
            // On a terminal a line of a server cannot look like that of another.
            for (const text of output.stream.isTTY ? harmlessLines(line.text) : [line.text])
              output.line(`${labels.of(line.server)}${text}`)
          }
        } catch (error) {
          if (!stop.signal.aborted) throw error
        } finally {
          process.off('SIGINT', interrupt)
        }
      },
    )
}

/** A duration before now, or a point in time, as epoch milliseconds. Throws `request.invalid`. */
export function readTime(text: string, now: number): number {
  if (/^\d+(\.\d+)?\s*(ms|s|m|h)$/.test(text)) return now - parseDuration(text)
  const days = /^(\d+)d$/.exec(text)
  const at = days ? now - Number(days[1]) * 86_400_000 : Date.parse(text)
  if (Number.isNaN(at))
    throw new DployError('request.invalid', `"${text}" is neither a duration nor a time`, {
      fix: 'For example: --since 10m, or --since 2026-11-24T10:00',
    })
  return at
}
