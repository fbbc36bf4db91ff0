import type { LogLine, ServiceManager } from './services/contract.ts'

/** So many lines are looked through for those that are wanted. */
const lookedThrough = 20_000
/** After so long without another line, what was there before is over, and the rest is new. Milliseconds. */
const pause = 300

export interface LogViewOptions {
  /** How many of the last lines. */
  lines: number
  follow: boolean
  /** Epoch milliseconds: nothing older, where a line's time is known. */
  since: number | null
  /** Only lines that contain this text; without upper case in it, in any case. */
  grep: string | null
  signal: AbortSignal
}

/** A service's log as a person wants to see it: the last lines that are wanted, then what comes. */
export async function viewLogs(
  manager: Pick<ServiceManager, 'logs'>,
  options: LogViewOptions,
  onLine: (line: LogLine) => void,
): Promise<void> {
  const { lines, follow, signal } = options
  const begun = Date.now()
  const chosen = options.since !== null || options.grep !== null
  const wanted = wantedLines(options)
  const last: LogLine[] = []
  let backlog = chosen
  const show = () => {
    clearTimeout(timer)
    backlog = false
    for (const line of last.splice(0)) onLine(line)
  }
  let timer = setTimeout(() => {}, 0)
  await manager.logs({ lines: chosen ? lookedThrough : lines, follow, signal }, (given) => {
    const line = given.at === null ? { ...given, at: timeInLine(given.text) } : given
    if (backlog && follow) {
      clearTimeout(timer)
      timer = setTimeout(show, pause)
      if (line.at !== null && line.at > begun) show()
    }
    if (!wanted(line)) return
    if (!backlog) return onLine(line)
    last.push(line)
    if (last.length > lines) last.shift()
  })
  show()
}

function wantedLines({ since, grep }: LogViewOptions): (line: LogLine) => boolean {
  const anyCase = grep !== null && grep === grep.toLowerCase()
  return ({ at, text }) => {
    if (since !== null && at !== null && at < since) return false
    return grep === null || (anyCase ? text.toLowerCase() : text).includes(grep)
  }
}

/**
 * The time that a line begins with, as most loggers write it: ISO 8601 or nearly so (without a zone it is the server's own
 * time), also in brackets, or pino's `"time":`. Epoch milliseconds; null if there is none.
 */
export function timeInLine(text: string): number | null {
  const pino = /^\{(?:"level":\d+,)?"time":(\d{13})\b/.exec(text)
  if (pino) return Number(pino[1])
  const iso =
    /^(?:\{"time(?:stamp)?":"|\[)?(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\s?(Z|[+-]\d\d:?\d\d)?/.exec(
      text,
    )
  if (!iso) return null
  const [, day, time, fraction = '0', zone = ''] = iso
  const at = Date.parse(
    `${day}T${time}.${fraction.slice(0, 3).padEnd(3, '0')}${zone.length === 5 ? `${zone.slice(0, 3)}:${zone.slice(3)}` : zone}`,
  )
  return Number.isNaN(at) ? null : at
}
