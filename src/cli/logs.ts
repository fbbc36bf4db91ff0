import { Command } from 'commander'
import { styleText } from 'node:util'
import { DployError } from '../protocol/errors.ts'
import { makeOutput } from './output.ts'
import { openSession } from './session.ts'
import { plainLine } from './view/plain.ts'

const colors = ['cyan', 'yellow', 'green', 'magenta', 'blue', 'red'] as const

export function logsCommand(): Command {
  return new Command('logs')
    .description('what the application prints, from all servers, in order of time; or the log of a deployment')
    .argument('[environment]')
    .option('-f, --follow', 'go on with what comes', false)
    .option('-n, --lines <n>', 'how many lines of each server', '50')
    .option('--on <server>', 'only this server')
    .option('--deployment <number>', 'the log of this deployment instead: build, hooks, steps')
    .option('--json', 'one JSON object a line', false)
    .addHelpText('after', '\nExamples:\n  $ dploy logs production --follow\n  $ dploy logs production --on web1 -n 200\n  $ dploy logs --deployment 128')
    .action(async (environment: string | undefined, options: { follow: boolean; lines: string; on?: string; deployment?: string; json: boolean }, command: Command) => {
      const output = makeOutput(options)
      const stop = new AbortController()
      process.once('SIGINT', () => stop.abort(new Error('interrupted')))
      await using session = await openSession(command, environment, { any: options.deployment !== undefined })
      try {
        if (options.deployment !== undefined) {
          const number = Number(options.deployment)
          if (!Number.isInteger(number)) throw new DployError('request.invalid', `"${options.deployment}" is not the number of a deployment`, { fix: 'Run: dploy deployments' })
          let began: number | null = null
          for await (const event of session.client.stream('deploymentEvents', { params: { number }, query: {} }, { signal: stop.signal })) {
            began ??= event.at
            const line = plainLine(event, began)
            if (output.mode === 'json') output.json(event)
            else if (line !== null) output.line(line)
          }
          return
        }
        const query = { lines: options.lines, follow: options.follow ? ('true' as const) : ('false' as const), ...(options.on === undefined ? {} : { server: options.on }) }
        const servers: string[] = []
        for await (const line of session.client.stream('logs', { params: session.params, query }, { signal: stop.signal })) {
          if (output.mode === 'json') {
            output.json(line)
            continue
          }
          if (!servers.includes(line.server)) servers.push(line.server)
          const label = `${line.server.padEnd(8)} `
          output.line(`${output.color ? styleText(colors[servers.indexOf(line.server) % colors.length]!, label, { validateStream: false }) : label}${line.text}`)
        }
      } catch (error) {
        if (!stop.signal.aborted) throw error
      }
    })
}
