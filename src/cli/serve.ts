import { resolve } from 'node:path'
import { Command } from 'commander'
import { DployError } from '../protocol/errors.ts'
import { dataDirectory } from './connect.ts'
import { makeOutput } from './output.ts'
import { pagesOf } from './pages.ts'

export function serveCommand(): Command {
  return new Command('serve')
    .description('run the control plane: agents and clients connect to it')
    .option('--listen <host:port>', 'where agents and clients connect', '127.0.0.1:4800')
    .option('--url <url>', 'where servers and people reach it, if not there: https://dploy.example.org')
    .option(
      '--agent-trial <seconds>',
      'how long an upgraded agent has to come back before the version before is put back',
      '60',
    )
    .option(
      '--request-timeout <seconds>',
      'how long a request may take to come; uploads may pause for four times as long',
      '15',
    )
    .option('--data <dir>', 'where it keeps everything; by default .dploy here')
    .option('--metrics-open', 'show /metrics to everybody; by default to who may read everything', false)
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      '\nExamples:\n  $ dploy serve\n  $ dploy serve --listen 0.0.0.0:4800 --data /var/lib/dploy-control',
    )
    .action(
      async (options: {
        listen: string
        url?: string
        agentTrial: string
        requestTimeout: string
        data?: string
        metricsOpen: boolean
        json: boolean
      }) => {
        const output = makeOutput(options)
        const { startServing } = await import('./embed.ts')
        const data = options.data === undefined ? dataDirectory(process.cwd()) : resolve(options.data)
        const stop = Promise.withResolvers<void>()
        for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.resolve())
        const pages = pagesOf((text) => output.mode !== 'json' && output.line(text))
        await using plane = await startServing(data, {
          tcp: parseListen(options.listen),
          publicUrl: readUrl(options.url),
          agentTrial: readSeconds('--agent-trial', options.agentTrial),
          requestSeconds: readSeconds('--request-timeout', options.requestTimeout),
          pages,
          metricsOpen: options.metricsOpen,
          log: { level: 'info' },
        })
        const setup = await plane.setupLink()
        if (output.mode === 'json')
          output.json({ type: 'serving', url: plane.url, data, ...(setup === null ? {} : { setup }) })
        else {
          output.line(`dploy serves on ${plane.url}, data in ${data}`)
          if (setup !== null)
            output.line(
              `\nNobody is administrator yet. Whoever opens this link within a day becomes it; it works once:\n  ${setup}`,
            )
          output.line(
            `\nAdd a server:  curl -fsSL ${readUrl(options.url) ?? plane.url}/install.sh | sudo sh -s -- --token ${await plane.joinToken()} --name NAME`,
          )
          output.line(`Pages:         ${plane.url}`)
          output.line('In this directory, dploy deploy uses this control plane by itself. Ctrl-C stops it.')
        }
        // Served and built side by side: whoever opens a page before it is built waits for it.
        void pages().catch((error: unknown) => output.line((error as Error).message))
        await stop.promise
      },
    )
}

function readUrl(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  const url = URL.canParse(text) ? new URL(text) : null
  if (!url || !/^https?:$/.test(url.protocol) || url.pathname !== '/' || !/^[A-Za-z0-9.:[\]-]+$/.test(url.host))
    throw new DployError('request.invalid', `"${text}" is not an address`, {
      fix: 'For example: --url https://dploy.example.org',
    })
  return url.origin
}

function readSeconds(option: string, text: string): number {
  const seconds = Number(text)
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > 3_600)
    throw new DployError('request.invalid', `"${text}" is not a number of seconds from 1 to 3600`, {
      fix: `For example: ${option} 60`,
    })
  return seconds
}

function parseListen(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d+)$/.exec(text)
  const port = Number(match?.[3])
  if (!match || port > 65_535)
    throw new DployError('request.invalid', `"${text}" is not HOST:PORT`, { fix: 'For example: --listen 0.0.0.0:4800' })
  return { host: match[1] ?? (match[2] || '0.0.0.0'), port }
}
