import type { LoggedRequest, TrafficCounters } from '../../balancers/contract.ts'
import type { Span } from '../../protocol/agent-messages.ts'
import type { Step, StepState } from '../../protocol/deployment.ts'
import type { Cut, PhaseName, Receipt, ServerOutcome, UserTraffic } from '../../protocol/receipt.ts'
import { verdictOf } from '../../protocol/verdict.ts'
import { capacityOf } from './capacity.ts'
import { causesOf, type DeploymentFacts } from './causes.ts'
import { criticalPath } from './critical-path.ts'
import { divide } from './floor.ts'
import { innermost } from '../../protocol/spans.ts'
import type { Sample } from './sample.ts'
import { trafficOf } from './traffic.ts'

/** What was measured. Spans and phases are milliseconds relative to the deployment's start. */
export interface ReceiptInput {
  deployment: {
    id: string
    number: number
    kind: Receipt['kind']
    /** Release numbers. With `from` null nothing served before: what fails until the first good answer is nobody's. */
    from: number | null
    to: number | null
    state: Receipt['state']
    /** Epoch milliseconds. */
    startedAt: number
    finishedAt: number
  }
  phases: readonly { name: PhaseName; start: number; end: number }[]
  /** What the control plane itself did within a phase: `build_command`, `bake` between batches. */
  spans?: readonly Span[]
  servers: readonly (Pick<Step, 'server' | 'batch' | 'state' | 'spans' | 'bytes' | 'objects'> & {
    /** Measured on the server's connection, milliseconds. Left out: the floor has no round trip. */
    roundTripMs?: number | undefined
  })[]
  /** All of the probe; those sent before `startedAt` only tell what is usual. */
  samples: readonly Sample[]
  /** Null where the balancer does not count, or could not be asked. */
  counters: { before: TrafficCounters | null; after: TrafficCounters | null }
  /** What the balancer counted by release; left out: it does not count by server. */
  users?: UserTraffic | null
  /** What the balancer's log tells of requests of the probe; left out: there is none. */
  logged?: readonly LoggedRequest[]
  /** Left out: no causes are looked for. */
  facts?: Omit<DeploymentFacts, 'restarted' | 'failedAt'>
  /** Servers that it leaves out of traffic; left out: none. */
  out?: readonly string[]
}

/** The receipt of a deployment that is over. Pure: no I/O, no clock. What each figure means stands in protocol/receipt.ts. */
export function makeReceipt(input: ReceiptInput): Receipt {
  const { deployment } = input
  const total = Math.max(0, deployment.finishedAt - deployment.startedAt)
  const phases = input.phases.map((phase) => ({ name: phase.name, ...rounded(phase) }))
  const control = (input.spans ?? []).map((span) => ({ name: span.name, ...rounded(span) }))
  const servers = input.servers.map((step) => ({
    name: step.server,
    batch: step.batch,
    outcome: outcomes[step.state],
    spans: step.spans
      .map((span) => ({ name: span.name, ...rounded(span) }))
      .sort((a, b) => a.start - b.start || b.end - a.end),
    bytes: step.bytes,
    objects: step.objects,
  }))
  const path = criticalPath({ total, phases, control, servers })
  const roundTrips = new Map(input.servers.map((step) => [step.server, step.roundTripMs ?? 0]))
  const shares = divide(path, roundTrips)
  const traffic = trafficOf({
    samples: input.samples.toSorted((a, b) => a.at - b.at),
    counters: input.counters,
    users: input.users ?? null,
    logged: input.logged ?? [],
    startedAt: deployment.startedAt,
    total,
    touched:
      phases.find((phase) => phase.name === 'activate' || phase.name === 'roll_back')?.start ??
      Number.POSITIVE_INFINITY,
    first: deployment.from === null,
    servers: servers.map((server) => ({ name: server.name, pieces: innermost(server.spans) })),
    control: innermost([...phases, ...control]),
  })
  const { judged, causes } =
    input.facts === undefined
      ? { judged: [], causes: [] }
      : causesOf({
          noticed: traffic.noticed,
          servers,
          path,
          total,
          facts: {
            ...input.facts,
            restarted: traffic.balancer?.restarted ?? false,
            failedAt: failedAt(input.counters),
          },
        })
  const cut = input.facts === undefined ? [] : cutsOf(input.facts)
  return {
    deployment: deployment.id,
    number: deployment.number,
    kind: deployment.kind,
    from: deployment.from,
    to: deployment.to,
    state: deployment.state,
    startedAt: deployment.startedAt,
    finishedAt: deployment.finishedAt,
    seconds: total / 1000,
    floor: { ms: tenths(shares.floor.ms), parts: mapped(shares.floor.parts) },
    waiting: { ms: tenths(shares.waiting.ms), parts: mapped(shares.waiting.parts) },
    overheadMs: tenths(shares.overheadMs),
    phases,
    servers,
    criticalPath: path.map((piece) => ({ ...piece, ms: tenths(piece.ms) })),
    skewMs: skew(servers),
    bytes: servers.reduce((sum, server) => sum + server.bytes, 0),
    objects: servers.reduce((sum, server) => sum + server.objects, 0),
    traffic: {
      ...traffic,
      noticed: traffic.noticed.map((one, index) => ({
        ...one,
        cause: judged[index]?.cause ?? null,
        server: judged[index]?.server ?? one.server,
      })),
    },
    causes: causes.map((cause) => ({
      ...cause,
      evidence: [
        ...cause.evidence,
        ...traffic.noticed
          .flatMap((one, index) => (judged[index]?.cause === cause.id && one.logged !== null ? [one.logged] : []))
          .slice(0, 1),
      ],
    })),
    capacity:
      input.facts === undefined
        ? null
        : capacityOf(
            servers.filter(({ name }) => !input.facts!.idle.includes(name)),
            total,
            input.facts,
          ),
    cut,
    out: [...(input.out ?? [])],
    verdict: verdictOf({ from: deployment.from, cut, traffic }),
  }
}

/** Where the balancer counted more failures at the end than at the start. */
function failedAt({ before, after }: ReceiptInput['counters']): string[] {
  return Object.entries(after?.failedAt ?? {}).flatMap(([server, count]) =>
    before?.failedAt !== undefined && count > (before.failedAt[server] ?? 0) ? [server] : [],
  )
}

const outcomes = {
  pending: 'skipped',
  staging: 'skipped',
  staged: 'skipped',
  draining: 'failed',
  activating: 'failed',
  registering: 'failed',
  switched: 'switched',
  reverting: 'failed',
  reverted: 'reverted',
  failed: 'failed',
  quarantined: 'failed',
  unreachable: 'unreachable',
  unchanged: 'unchanged',
} as const satisfies Record<StepState, ServerOutcome>

function cutsOf({ cut, retired }: Pick<DeploymentFacts, 'cut' | 'retired'>): Cut[] {
  const drained = [...cut].flatMap(([server, count]): Cut[] => (count === 0 ? [] : [{ server, count, when: 'drain' }]))
  const ended = [...retired].flatMap(([server, { connections }]): Cut[] =>
    connections === 0 ? [] : [{ server, count: connections, when: 'stop' }],
  )
  return [...drained, ...ended]
}

/**
 * A server that was switched back has switched twice; its first time counts. Where the balancer is told the release's port, users
 * are led to it by that.
 */
function skew(servers: readonly { spans: readonly Span[] }[]): number | null {
  const times = servers.flatMap(
    ({ spans }) =>
      (spans.find((span) => span.name === 'readdress') ?? spans.find((span) => span.name === 'switch'))?.end ?? [],
  )
  if (times.length === 0) return null
  return tenths(times.reduce((a, b) => Math.max(a, b)) - times.reduce((a, b) => Math.min(a, b)))
}

function rounded(span: { start: number; end: number }): { start: number; end: number } {
  return { start: tenths(Math.max(0, span.start)), end: tenths(Math.max(0, span.end)) }
}

function mapped<T extends Record<string, number>>(parts: T): T {
  return Object.fromEntries(Object.entries(parts).map(([name, ms]) => [name, tenths(ms)])) as T
}

/** Tenths of a millisecond are all that two clocks can agree on. */
function tenths(ms: number): number {
  return Math.round(ms * 10) / 10
}
