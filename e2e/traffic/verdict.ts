import { AssertionError } from 'node:assert'
import type { TrafficRecord, TrafficSummary } from './summary.ts'

/** Every request was answered, and well. `atLeast` guards against a proof from too little: as many must have been seen. */
export function noRequestFailed(summary: TrafficSummary, atLeast = 1): void {
  enough(summary, atLeast)
  if (summary.failed > 0)
    reject(`${summary.failed} of ${summary.seen} requests failed`, summary.failures, noRequestFailed)
}

/** As noRequestFailed, and none took 250 ms or more over the usual: a balancer that tries again turns failures into those. */
export function noRequestNoticed(summary: TrafficSummary, atLeast = 1): void {
  noRequestFailed(summary, atLeast)
  if (summary.stalled > 0) {
    const blind = summary.blind >= 100 ? `; the generator itself stood still for ${Math.round(summary.blind)} ms` : ''
    reject(
      `${summary.stalled} of ${summary.seen} requests stalled (usual: ${summary.p50.toFixed(1)} ms${blind})`,
      summary.stalls,
      noRequestNoticed,
    )
  }
}

/** The last second of the traffic was answered by this release only. */
export function endedOn(summary: TrafficSummary, release: string): void {
  const last = summary.timeline.filter((slot) => slot.at >= (summary.timeline.at(-1)?.at ?? 0) - 900)
  const names = new Set(last.flatMap((slot) => Object.keys(slot.releases)))
  if (names.size === 1 && names.has(release)) return
  throw new AssertionError({
    message: `The last second was answered by ${[...names].join(', ') || 'nobody'}, not by ${release} alone`,
    stackStartFn: endedOn,
  })
}

function enough(summary: TrafficSummary, atLeast: number): void {
  if (summary.seen >= atLeast) return
  throw new AssertionError({
    message: `Only ${summary.seen} requests were seen, which proves less than ${atLeast} would`,
    stackStartFn: enough,
  })
}

// oxlint-disable-next-line typescript/no-unsafe-function-type
function reject(title: string, records: readonly TrafficRecord[], stackStartFn: Function): never {
  const lines = records.map(
    ({ at, method, ms, status, cause, reused, release, server }) =>
      `  ${(at / 1000).toFixed(3)} s  ${method} ${reused ? 'on a kept connection' : 'on a new connection'} after ${ms.toFixed(0)} ms: ` +
      `${cause ?? `status ${status}`}${server ? `, from ${server}` : ''}${release ? `, release ${release}` : ''}`,
  )
  throw new AssertionError({ message: [title, ...lines].join('\n'), stackStartFn })
}
