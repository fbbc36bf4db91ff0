import type { LoggedRequest } from '../contract.ts'

/** Longer lines are no requests that anybody could use. Characters. */
const longest = 8_192
/** Clocks of time zones differ by whole quarters of an hour. Milliseconds. */
const quarter = 900_000

/**
 * The default HTTP log format (configuration.txt, 8.2.3 `option httplog`), which `option httpslog` (8.2.5) extends at its end:
 *
 *     10.0.1.2:33317 [06/Feb/2026:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /index.html HTTP/1.1"
 *
 * The five times are TR/Tw/Tc/Tr/Ta. Whatever syslog writes before it is skipped.
 */
const format =
  /(?:^|\s)\S+:(\d{1,5}) \[\d+\/\w+\/\d+:\d+:(\d\d):(\d\d)\.(\d{3})\] \S+ ([^\s/]+)\/(\S+) (-?\d+)\/(-?\d+)\/(-?\d+)\/(-?\d+)\/\+?(-?\d+) (-?\d+) \+?\d+ \S+ \S+ (\S{4}) \d+\/\d+\/\d+\/\d+\/\+?(\d+) \d+\/\d+ (?:\{[^}]*\} ){0,2}"([^"]*)/

/** A request in a line of HAProxy's log, which arrived at `arrived` (epoch milliseconds), with its backend; null if it tells of none. */
export function parseLogLine(line: string, arrived: number): (LoggedRequest & { backend: string }) | null {
  const found = format.exec(line.slice(0, longest))
  if (!found) return null
  const [
    ,
    port,
    minutes,
    seconds,
    millis,
    backend,
    server,
    ,
    wait,
    connect,
    answer,
    total,
    status,
    ending,
    retries,
    request,
  ] = found as unknown as string[]
  const took = Math.max(0, Number(total))
  return {
    backend: backend!,
    at: beganAt((Number(minutes) * 60 + Number(seconds)) * 1000 + Number(millis), arrived - took),
    clientPort: Number(port),
    server: server!.startsWith('<') ? null : server!,
    ...requestOf(request!),
    status: Number(status) >= 100 ? Number(status) : null,
    waitMs: known(wait!),
    connectMs: known(connect!),
    answerMs: known(answer!),
    totalMs: took,
    retries: Number(retries),
    ending: ending!,
  }
}

/**
 * HAProxy writes the hour of its own time zone and not which that is. So the minute, second and millisecond are taken
 * from the line, and the rest from when it arrived, which is near its end.
 */
function beganAt(inHour: number, about: number): number {
  const base = Math.floor(about / quarter) * quarter + (inHour % quarter)
  return [base - quarter, base, base + quarter].reduce((best, one) =>
    Math.abs(one - about) < Math.abs(best - about) ? one : best,
  )
}

/** -1 says that it never came to that. */
function known(text: string): number | null {
  return Number(text) >= 0 ? Number(text) : null
}

/** `GET /path HTTP/1.1`; of HTTP/2 with the whole address. `<BADREQ>` is none. */
function requestOf(text: string): { method: string | null; path: string | null } {
  const [method, address] = text.split(' ')
  if (address === undefined) return { method: null, path: null }
  if (!/^https?:/.test(address) || !URL.canParse(address)) return { method: method!, path: address }
  const { pathname, search } = new URL(address)
  return { method: method!, path: pathname + search }
}
