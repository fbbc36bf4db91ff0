import { startSockets, type SeenSockets } from '../traffic/sockets.ts'
import { startTraffic, type TrafficRecord } from '../traffic/traffic.ts'
import type { Outcome } from '../world.ts'
import type { Way } from './team.ts'

/** Around the moments in which a server switched: clocks are read by two processes. Milliseconds. */
const slack = 250
/** The traffic ends by itself after so long. Milliseconds. */
const longest = 600_000

/** What one way to deploy came to. Times are milliseconds unless said otherwise. */
export interface Row {
  way: string
  deployments: number
  requests: number
  failed: number
  /** Sent a second time, as browsers do: the balancer ended a kept connection in that instant. */
  again: number
  stalled: number
  /** In which the generator itself got no processor, and cannot have noticed anything. */
  blind: number
  /** 99 of 100 requests were answered within, while a deployment ran and while none did. */
  p99During: number
  p99Outside: number
  /** Median of the deployments, in seconds. */
  seconds: number
  sockets: { opened: number; ended: number; cut: number; undeclared: number; refused: number }
  /** The first failures, for people. */
  failures: string[]
}

export interface RowOptions {
  deployments: number
  /** Requests a second. */
  rate: number
  /** WebSockets that are held open. */
  sockets: number
  onDeployment?: (number: number, outcome: Outcome) => void
}

/** Deploys a one-line change again and again under load, and says what users saw of it. Throws when a deployment does not succeed. */
export async function measureRow(way: Way, options: RowOptions): Promise<Row> {
  await using team = await way.open()
  await using sockets = startSockets({ url: team.url.replace('http:', 'ws:'), count: options.sockets })
  await using traffic = await startTraffic({
    url: team.url,
    rate: options.rate,
    posts: 0.2,
    slow: 0.01,
    again: true,
    duration: longest,
  })
  const began = Date.now()
  await traffic.until(({ seen }) => seen >= options.rate)
  const outcomes: Outcome[] = []
  for (let number = 1; number <= options.deployments; number++) {
    await team.world.commit({ 'version.txt': `${number}\n` }, `Deploy ${number}`)
    const outcome = await team.world.dploy('deploy', 'production')
    if (outcome.result.state !== 'succeeded')
      throw new Error(
        `${way.name}: deployment ${number} ended as ${outcome.result.state}: ${outcome.result.failure?.message}`,
      )
    outcomes.push(outcome)
    options.onDeployment?.(number, outcome)
    // What is outside of deployments is measured too: a second after each.
    const { seen } = await traffic.look()
    await traffic.until((now) => now.seen >= seen + options.rate)
  }
  const records = await traffic.records()
  const summary = await traffic.stop()
  const seen = await sockets.stop()
  if (Date.now() - began > longest) throw new Error(`${way.name}: the requests ended before the deployments did`)
  const during = outcomes.map(({ result }) => ({
    from: result.receipt!.startedAt - began,
    to: result.receipt!.finishedAt - began,
  }))
  const isDuring = ({ at }: TrafficRecord) => during.some(({ from, to }) => at >= from && at <= to)
  return {
    way: way.name,
    deployments: options.deployments,
    requests: summary.seen,
    failed: summary.failed,
    again: summary.again,
    stalled: summary.stalled,
    blind: summary.blind,
    p99During: quantile(
      records.filter(isDuring).map(({ ms }) => ms),
      0.99,
    ),
    p99Outside: quantile(
      records.filter((record) => !isDuring(record)).map(({ ms }) => ms),
      0.99,
    ),
    seconds: quantile(
      outcomes.map(({ result }) => result.seconds),
      0.5,
    ),
    sockets: judgeSockets(way, seen, outcomes),
    failures: summary.failures
      .slice(0, 5)
      .map(
        ({ at, method, ms, cause, server, reused }) =>
          `at ${(at / 1000).toFixed(2)} s ${method} ${reused ? 'kept' : 'new'} ${ms.toFixed(0)} ms ${cause} ${server ?? ''}`,
      ),
  }
}

/** A WebSocket may end where a deployment says so: while its own server switches. Elsewhere its end is a fault, unless the balancer is known for it. */
function judgeSockets(way: Way, seen: SeenSockets, outcomes: readonly Outcome[]): Row['sockets'] {
  const declared = outcomes.flatMap(({ result }) =>
    result.receipt!.servers.flatMap(({ name, spans }) =>
      spans
        .filter((span) => span.name === 'activate')
        .map((span) => ({
          name,
          from: result.receipt!.startedAt + span.start - slack,
          to: result.receipt!.startedAt + span.end + slack,
        })),
    ),
  )
  const unexpected = way.endsLater ? seen.ends.filter(({ code }) => code !== 1001) : seen.ends
  const undeclared = way.endsSockets
    ? []
    : unexpected.filter(
        ({ at, server }) => !declared.some(({ name, from, to }) => name === server && at >= from && at <= to),
      )
  return {
    opened: seen.opened,
    ended: seen.ends.filter(({ code }) => code === 1001).length,
    cut: seen.ends.filter(({ code }) => code !== 1001).length,
    undeclared: undeclared.length,
    refused: seen.refused,
  }
}

function quantile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0
}
