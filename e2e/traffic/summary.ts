/** One request as it was seen from outside. Times are milliseconds; `at` counts from the start of the traffic. */
export interface TrafficRecord {
  at: number
  method: 'GET' | 'POST'
  /** From handing it to the connection until the whole answer was there, less what the generator itself stood still, and less what a slow path takes by itself. */
  ms: number
  status: number | undefined
  /** Why it failed, or undefined. */
  cause: string | undefined
  /** Whether its connection had served a request before. */
  reused: boolean
  /** Whether it was sent a second time, on a new connection. */
  again: boolean
  release: string | undefined
  server: string | undefined
}

export interface TrafficSummary {
  seconds: number
  seen: number
  failed: number
  /** Requests that were sent a second time. */
  again: number
  /** The first 20. */
  failures: TrafficRecord[]
  /** Requests that took 250 ms or more over the median: people notice those too. */
  stalled: number
  /** The first 20. */
  stalls: TrafficRecord[]
  /** Milliseconds, of the requests that did not fail. */
  p50: number
  p99: number
  slowest: number
  /** Answers by what named itself as the release, and as the server. */
  byRelease: Record<string, number>
  byServer: Record<string, number>
  /** Answers by release in each tenth of a second that had any; `at` is its beginning in milliseconds. */
  timeline: { at: number; releases: Record<string, number> }[]
  /** Requests that were due but not sent, because the limit of open ones was reached. Counted as failed too. */
  notSent: number
  /** Milliseconds in which the generator itself got no processor. It cannot have noticed anything then; the measurement is worth as much as this is small. */
  blind: number
}

export const stallThreshold = 250

/** What a list of requests amounts to. `seconds` and `blind` are the generator's. */
export function summarize(
  records: readonly TrafficRecord[],
  seconds: number,
  blind: number,
  notSent: number,
): TrafficSummary {
  const failures = records.filter((record) => record.cause !== undefined)
  const times = records
    .filter((record) => record.cause === undefined)
    .map((record) => record.ms)
    .sort((a, b) => a - b)
  const p50 = quantile(times, 0.5)
  const stalls = records.filter((record) => record.cause === undefined && record.ms >= p50 + stallThreshold)
  const timeline = new Map<number, Record<string, number>>()
  for (const { at, release } of records) {
    if (release === undefined) continue
    const slot = Math.floor(at / 100) * 100
    const releases = timeline.get(slot) ?? {}
    releases[release] = (releases[release] ?? 0) + 1
    timeline.set(slot, releases)
  }
  return {
    seconds,
    seen: records.length,
    failed: failures.length,
    again: records.filter((record) => record.again).length,
    failures: failures.slice(0, 20),
    stalled: stalls.length,
    stalls: stalls.slice(0, 20),
    p50,
    p99: quantile(times, 0.99),
    slowest: times.at(-1) ?? 0,
    byRelease: countBy(records, (record) => record.release),
    byServer: countBy(records, (record) => record.server),
    timeline: [...timeline].sort(([a], [b]) => a - b).map(([at, releases]) => ({ at, releases })),
    notSent,
    blind,
  }
}

/** The nearest-rank quantile of sorted numbers; 0 of none. */
function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0
}

function countBy(
  records: readonly TrafficRecord[],
  key: (record: TrafficRecord) => string | undefined,
): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const record of records) {
    const name = key(record)
    if (name !== undefined) counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}
