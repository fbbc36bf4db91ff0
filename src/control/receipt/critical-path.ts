import type { Span } from '../../protocol/agent-messages.ts'
import type { CriticalPiece } from '../../protocol/receipt.ts'
import { clip, innermost } from '../../protocol/spans.ts'

/**
 * How much earlier than the end of what it waited for a server's work may seem to begin, because two clocks were
 * read. Milliseconds.
 */
const clockTolerance = 5

/** Time in which the control plane was in no phase. */
export const outside = 'between_phases'
/** Time of a server between two of its spans. */
export const between = 'between'

/**
 * What the deployment could not end without, from 0 to `total` without a gap. Walks back from the end of each phase: to
 * the server whose work in the phase ended last, over all of its work there to when that began; from there to the
 * server that ended last before, and so on, which leads from batch to batch over the slowest server of each. Time that
 * no server explains is the control plane's, under the name of its own innermost span, or the phase.
 */
export function criticalPath(input: {
  total: number
  phases: readonly Span[]
  control: readonly Span[]
  servers: readonly { name: string; spans: readonly Span[] }[]
}): CriticalPiece[] {
  const { total } = input
  const windows = innermost([{ name: outside, start: 0, end: total }, ...clip(input.phases, 0, total)])
  const control = innermost([...windows, ...clip(input.control, 0, total)])
  const lanes = input.servers.map((server) => ({ name: server.name, pieces: innermost(server.spans) }))
  const path: CriticalPiece[] = []
  for (const window of windows.toReversed()) path.push(...walkBack(window, lanes, control))
  return merged(path.toReversed())
}

interface Lane {
  name: string
  pieces: Span[]
}

/** The pieces of one phase, last first. */
function walkBack(window: Span, lanes: readonly Lane[], control: readonly Span[]): CriticalPiece[] {
  const chains = lanes
    .map((lane) => ({ name: lane.name, pieces: clip(lane.pieces, window.start, window.end) }))
    .filter((chain) => chain.pieces.length > 0)
    .sort((a, b) => endOf(b) - endOf(a))
  const path: CriticalPiece[] = []
  let at = window.end
  const controlFrom = (start: number) => {
    if (at > start)
      path.push(
        ...clip(control, start, at)
          .toReversed()
          .map((span) => piece(null, span)),
      )
    at = Math.min(at, start)
  }
  for (const chain of chains) {
    if (endOf(chain) > at + clockTolerance || chain.pieces[0]!.start >= at) continue
    controlFrom(endOf(chain))
    for (const span of chain.pieces.toReversed()) {
      if (span.end < at) path.push(piece(chain.name, { name: between, start: span.end, end: at }))
      if (span.start < at)
        path.push(piece(chain.name, { name: span.name, start: span.start, end: Math.min(span.end, at) }))
      at = Math.min(at, span.start)
    }
  }
  controlFrom(window.start)
  return path
}

function endOf(chain: { pieces: readonly Span[] }): number {
  return chain.pieces.at(-1)!.end
}

function piece(server: string | null, span: Span): CriticalPiece {
  return { server, name: span.name, start: span.start, ms: span.end - span.start }
}

function merged(path: readonly CriticalPiece[]): CriticalPiece[] {
  const result: CriticalPiece[] = []
  for (const next of path) {
    const last = result.at(-1)
    if (last && last.server === next.server && last.name === next.name) last.ms += next.ms
    else result.push({ ...next })
  }
  return result
}
