import type { LoggedRequest } from '../../balancers/contract.ts'
import { formatDuration } from '../../protocol/duration.ts'
import { stallMs, type Sample } from './sample.ts'

/** So many are kept at most: the receipt names far fewer. */
const most = 10_000
/** The clocks of the balancer and of this machine differ by less, or nothing is said. Milliseconds. */
const clocks = 1_000

/** Keeps of a balancer's log what may be a request of the probe that users would have noticed. */
export class LoggedTrouble {
  readonly requests: LoggedRequest[] = []
  readonly #paths: ReadonlySet<string>

  constructor(probe: { url: string; post?: string | undefined }) {
    const { pathname, search } = new URL(probe.url)
    this.#paths = new Set([pathname + search, ...(probe.post === undefined ? [] : [probe.post])])
  }

  add(request: LoggedRequest): void {
    if (request.path === null || !this.#paths.has(request.path) || this.requests.length >= most) return
    if (request.status === null || request.status >= 400 || request.totalMs >= stallMs || request.retries > 0)
      this.requests.push(request)
  }
}

/**
 * What the log says of a request of the probe: the one from the same port by the same method that began then. Where
 * another proxy stands between, ports are its own and nothing is found. `sample.at` is epoch milliseconds.
 */
export function loggedOf(sample: Sample, logged: readonly LoggedRequest[]): LoggedRequest | null {
  if (sample.port === undefined) return null
  const method = sample.method ?? 'GET'
  const distance = (one: LoggedRequest) => Math.abs(one.at - sample.at)
  return logged
    .filter((one) => one.clientPort === sample.port && one.method === method && distance(one) <= clocks)
    .reduce<LoggedRequest | null>((best, one) => (best === null || distance(one) < distance(best) ? one : best), null)
}

/** In words, for evidence. */
export function saidByLog(request: LoggedRequest): string {
  const parts = [
    request.server === null
      ? 'no server got it'
      : `${request.server} got it${request.retries > 0 ? ` after ${request.retries} ${request.retries === 1 ? 'retry' : 'retries'}` : ''}`,
    ...(request.waitMs !== null && request.waitMs > 0 ? [`${formatDuration(request.waitMs)} in a queue`] : []),
    request.connectMs === null
      ? request.server === null
        ? null
        : 'no connection was made'
      : `connected in ${formatDuration(request.connectMs)}`,
    request.connectMs === null
      ? null
      : request.answerMs === null
        ? 'no answer began'
        : `the answer began after ${formatDuration(request.answerMs)}`,
    `${request.status === null ? 'no status' : `status ${request.status}`}, ended as ${request.ending}`,
  ]
  return `the balancer's log: ${parts.filter((part) => part !== null).join(', ')}`
}
