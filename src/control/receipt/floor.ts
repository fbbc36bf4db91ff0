import { spanKind, type CriticalPiece, type Receipt, type SpanKind } from '../../protocol/receipt.ts'

/**
 * Divides the critical path's time into the floor, what was waited for on purpose, and the rest: dploy's own overhead.
 * The three add up to the whole. `roundTrips` has the measured round trip of each server's connection, in milliseconds.
 */
export function divide(
  path: readonly CriticalPiece[],
  roundTrips: ReadonlyMap<string, number>,
): Pick<Receipt, 'floor' | 'waiting' | 'overheadMs'> {
  const floor: Receipt['floor']['parts'] = {
    roundTrip: roundTripTime(path, roundTrips),
    transfer: 0,
    unpack: 0,
    switch: 0,
    boot: 0,
    health: 0,
  }
  const waiting: Receipt['waiting']['parts'] = { inFlight: 0, bake: 0, commands: 0 }
  let total = 0
  for (const piece of path) {
    total += piece.ms
    const kind = spanKind(piece.name)
    if (kind !== null) add(kind, piece.ms, floor, waiting)
  }
  const floorMs = sum(floor)
  const waitingMs = sum(waiting)
  return {
    floor: { ms: floorMs, parts: floor },
    waiting: { ms: waitingMs, parts: waiting },
    overheadMs: total - floorMs - waitingMs,
  }
}

function add(kind: SpanKind, ms: number, floor: Receipt['floor']['parts'], waiting: Receipt['waiting']['parts']): void {
  switch (kind) {
    case 'transfer':
    case 'unpack':
    case 'switch':
    case 'boot':
    case 'health':
      floor[kind] += ms
      return
    case 'in_flight':
      waiting.inFlight += ms
      return
    case 'bake':
      waiting.bake += ms
      return
    case 'command':
      waiting.commands += ms
      return
    default:
      kind satisfies never
  }
}

/** One round trip for each time that the path enters a server, out of the time there that nothing else explains. */
function roundTripTime(path: readonly CriticalPiece[], roundTrips: ReadonlyMap<string, number>): number {
  let total = 0
  let server: string | null = null
  let unexplained = 0
  const leave = () => {
    if (server !== null) total += Math.min(roundTrips.get(server) ?? 0, unexplained)
    unexplained = 0
  }
  for (const piece of path) {
    if (piece.server !== server) leave()
    server = piece.server
    if (spanKind(piece.name) === null) unexplained += piece.ms
  }
  leave()
  return total
}

function sum(parts: Record<string, number>): number {
  return Object.values(parts).reduce((total, ms) => total + ms, 0)
}
