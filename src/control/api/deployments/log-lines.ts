import { releaseDirectory } from '../../../protocol/config/config.ts'
import { cutText } from '../../../protocol/cut-text.ts'
import { DployError } from '../../../protocol/errors.ts'
import type { Environment } from '../../store/applications.ts'
import type { ApiContext } from '../context.ts'

export interface LogLine {
  server: string
  at: number | null
  text: string
}

/** How long is waited at the beginning until every server has sent something. Milliseconds. */
const beginning = 1_000
/** How long lines are held back so that those of several servers come in order of time. Milliseconds. */
const reorderWindow = 150
/** More lines than this wait for a slow reader; then the oldest are dropped, and the reader is told. */
const maxWaiting = 50_000
/** The same for their characters. */
const maxCharacters = 32 * 1024 * 1024
/** More than this of a line nobody reads; agents cut them too. Characters. */
const longestLine = 64 * 1024

/** The application's log from all connected servers, merged by time. */
export async function* logLines(
  context: ApiContext,
  environment: Environment,
  options: {
    lines: number
    follow: boolean
    server: string | null
    since: number | null
    grep: string | null
    signal: AbortSignal
  },
): AsyncGenerator<LogLine> {
  const servers = (await context.store.applications.servers(environment.id)).filter(
    (server) => options.server === null || server.name === options.server,
  )
  if (servers.length === 0)
    throw new DployError(
      'server.unknown',
      `There is no server ${options.server ?? ''} in ${environment.application}/${environment.name}`,
    )
  const waiting: (LogLine & { arrived: number })[] = []
  let wake: () => void = () => {}
  let open = servers.length
  let dropped = 0
  let characters = 0
  const begun = Date.now()
  const silent = new Set(servers.map((server) => server.name))
  const stop = new AbortController()
  const signal = AbortSignal.any([options.signal, stop.signal])
  const place = {
    application: environment.application,
    environment: environment.name,
    directory: releaseDirectory(environment.config, environment.name),
  }
  for (const server of servers) {
    const push = (at: number | null, text: string) => {
      const line = { server: server.name, at, text: cutText(text, longestLine), arrived: Date.now() }
      while (waiting.length >= maxWaiting || (waiting.length > 0 && characters + line.text.length > maxCharacters)) {
        characters -= waiting.shift()!.text.length
        dropped++
      }
      silent.delete(server.name)
      characters += line.text.length
      waiting.push(line)
      wake()
    }
    const link = context.gateway.link(server.id)
    const asked = link
      ? link.command(
          'logs',
          { ...place, lines: options.lines, follow: options.follow, since: options.since, grep: options.grep },
          {
            application: place.application,
            environment: place.environment,
            epoch: 0,
            signal,
            onEvent: (event) => push(event.at, event.text),
          },
        )
      : Promise.reject(context.gateway.problem(server))
    void asked
      .catch((error: unknown) => !signal.aborted && push(null, `(dploy) ${(error as Error).message}`))
      .finally(() => {
        open--
        silent.delete(server.name)
        wake()
      })
  }
  const gone = () => wake()
  options.signal.addEventListener('abort', gone)
  try {
    while (!options.signal.aborted) {
      const now = Date.now()
      if (dropped > 0)
        yield {
          server: 'dploy',
          at: now,
          text: `(dploy) ${dropped} lines were left out: they come faster than they are read`,
        }
      dropped = 0
      // Before all that was asked for is here, nothing is known about the order.
      const ready =
        open === 0
          ? waiting.splice(0)
          : options.follow && (silent.size === 0 || now - begun > beginning)
            ? takeOld(waiting, now - reorderWindow)
            : []
      for (const { text } of ready) characters -= text.length
      ready.sort((a, b) => timeOf(a) - timeOf(b))
      for (const { arrived: _, ...line } of ready) yield line
      if (open === 0 && waiting.length === 0) return
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, waiting.length > 0 ? reorderWindow : 1_000)
        // What waits already waits for its time.
        const isWaiting = waiting.length > 0
        wake = () => {
          if (isWaiting && open > 0 && !options.signal.aborted) return
          clearTimeout(timer)
          resolve()
        }
      })
    }
  } finally {
    options.signal.removeEventListener('abort', gone)
    stop.abort()
  }
}

type Waiting = { at: number | null; arrived: number }

function timeOf(line: Waiting): number {
  return line.at ?? line.arrived
}

/** Takes the lines that arrived before, and with them those that arrived later and are older than one of them. */
function takeOld<T extends Waiting>(waiting: T[], before: number): T[] {
  const latest = Math.max(...waiting.filter((line) => line.arrived <= before).map(timeOf), -Infinity)
  const taken = waiting.filter((line) => timeOf(line) <= latest)
  const rest = waiting.filter((line) => timeOf(line) > latest)
  waiting.splice(0, waiting.length, ...rest)
  return taken
}
