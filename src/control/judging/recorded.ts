import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { parseLogLine } from '../../balancers/haproxy/log-line.ts'
import { Judge, type Judgement } from './judge.ts'

/** A request as it was recorded. */
export interface Recorded {
  /** Epoch milliseconds, up to whole hours. */
  at: number
  failed: boolean
  /** Milliseconds. */
  answerMs: number
}

/**
 * Real requests by server, in their order: HAProxy's log of four servers (bench/record-canary.ts made it). web1 takes half as long again
 * for every answer and fails one request in 100, the others one in 1,000.
 */
export function recorded(): Map<string, Recorded[]> {
  const lines = gunzipSync(readFileSync(new URL('./recorded.log.gz', import.meta.url)))
    .toString('utf8')
    .trim()
    .split('\n')
  // Of a line's hour only its place in the hour is used, so that any near time does.
  const arrived = Date.UTC(2026, 10, 26)
  const servers = new Map<string, Recorded[]>()
  for (const line of lines) {
    const request = parseLogLine(line, arrived)
    if (!request?.server || request.answerMs === null) continue
    const own = servers.get(request.server) ?? []
    own.push({ at: request.at, failed: request.status === null || request.status >= 500, answerMs: request.answerMs })
    servers.set(request.server, own)
  }
  return servers
}

/** What is judged: only failures, or answer times too. */
interface Choice {
  times: boolean
}

/** A deployment over the traffic as it came, judged every `every` milliseconds. Answers what was said last, and after how many requests to the new release. */
export function replayInOrder(
  fresh: readonly Recorded[],
  old: readonly Recorded[],
  { every, times }: Choice & { every: number },
): Judgement {
  const judge = new Judge()
  const all = [...fresh, ...old].map(({ at }) => at)
  const [begin, end] = [Math.min(...all), Math.max(...all)]
  const looks = Math.ceil((end - begin + 1) / every)
  const within = (some: readonly Recorded[], look: number) =>
    some.filter(({ at }) => Math.floor((at - begin) / every) === look)
  for (let look = 0; look < looks; look++) {
    const judgement = add(judge, within(fresh, look), within(old, look), times, look, looks)
    if (judgement.outcome === 'fail') return judgement
  }
  return judge.now('under way')
}

/**
 * A deployment over as many requests as are wanted: those to the new release are drawn from `fresh`, three times as many to the old one from
 * `old`, with replacement (Efron 1979, "Bootstrap methods"), and judged at each of `looks`.
 */
export function replay(
  fresh: readonly Recorded[],
  old: readonly Recorded[],
  { requests, looks, times }: Choice & { requests: number; looks: number },
  random: () => number,
): Judgement {
  const judge = new Judge()
  const drawn = (from: readonly Recorded[], count: number) =>
    Array.from({ length: count }, () => from[Math.floor(random() * from.length)]!)
  for (let look = 0; look < looks; look++) {
    const count = Math.floor((requests * (look + 1)) / looks) - Math.floor((requests * look) / looks)
    const judgement = add(judge, drawn(fresh, count), drawn(old, count * 3), times, look, looks)
    if (judgement.outcome === 'fail') return judgement
  }
  return judge.now('under way')
}

/** What came within one interval, and what the judge says then. */
function add(
  judge: Judge,
  fresh: readonly Recorded[],
  old: readonly Recorded[],
  times: boolean,
  look: number,
  looks: number,
): Judgement {
  const failures = (some: readonly Recorded[]) => some.filter(({ failed }) => failed).length
  const answers = (some: readonly Recorded[]) => some.map(({ answerMs }) => answerMs)
  judge.add(
    { newRequests: fresh.length, newFailed: failures(fresh), oldRequests: old.length, oldFailed: failures(old) },
    times ? { new: answers(fresh), old: answers(old) } : undefined,
  )
  return judge.now(look === looks - 1 ? 'end' : look === Math.floor(looks / 2) ? 'half' : 'under way')
}
