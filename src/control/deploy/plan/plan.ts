import type { EnvironmentConfig } from '../../../protocol/config/config.ts'
import type { DeploymentKind, Plan, TrafficState } from '../../../protocol/deployment.ts'
import { DployError } from '../../../protocol/errors.ts'
import { groupsObstacle, planGroups } from './plan-groups.ts'

/** What is wanted. */
export interface Desired {
  kind: DeploymentKind
  application: string
  environment: string
  /** Null while the release is not made yet (a preview). */
  release: number | null
  from: number | null
  servers: readonly string[]
  /** Their tags, by name. */
  tags?: ReadonlyMap<string, Readonly<Record<string, string>>>
  strategy: EnvironmentConfig['strategy']
  /** Where two groups take turns: the tag of the one that serves. */
  live?: string | null
  releaseCommand: string | null
  /** Whether the balancer can keep servers out of traffic. */
  drains: boolean
  /** Whether it can send a share of the traffic to some servers. */
  splits?: boolean
  hasService: boolean
  /** Requests a second over all servers, where batches are made for them; null: nobody counts. */
  load?: number | null
  /** How the release takes over on a server. */
  handover?: 'restart' | 'socket' | 'port'
  /** Servers that somebody else took out of traffic, and those of `dploy server drain`. */
  leftOut?: readonly string[]
  keptOut?: readonly string[]
}

/** What was seen on one server; null if it cannot be reached. */
export interface ObservedServer {
  current: number | null
  /** Numbers of the releases that are on it. */
  releases: readonly number[]
  /** Whether its service runs the current release, or has nothing to run. */
  running: boolean
  /** How another release can take over from what runs there. */
  handover?: 'restart' | 'socket' | 'port'
  /** What the balancer says of it; null or left out: it was not asked, or cannot tell. */
  traffic?: TrafficState | null
}

/**
 * What has to be done to get from what was observed to what is desired. Pure: no I/O, no clock.
 *
 * A server that already runs the release is left alone, unless it converges: then it may run it and be out of traffic.
 * If no server runs anything yet, and the balancer sees none that serves, there is nobody to protect, and all switch together.
 * Servers that are out of traffic or down go first: that costs nobody anything. Where the new release takes over warm, nothing is out of traffic meanwhile: no server is drained,
 * and a rolling strategy has one batch. An order makes groups, which no batch mixes.
 */
export function plan(desired: Desired, observed: ReadonlyMap<string, ObservedServer | null>): Plan {
  // Servers that only converge are of the group that serves, and are brought there one batch after the other.
  if (desired.strategy.kind === 'blue-green' && desired.kind !== 'converge' && groupsObstacle(desired) === null)
    return planGroups(desired, observed)
  const reachable = desired.servers.filter((server) => observed.get(server))
  const unreachable = desired.servers.filter((server) => !observed.get(server))
  const unchanged = reachable.filter((server) => {
    const seen = observed.get(server)!
    return desired.kind !== 'converge' && desired.release !== null && seen.current === desired.release && seen.running
  })
  const groupOf = groups(desired)
  const serves = (server: string) => (observed.get(server)!.traffic ?? 'serving') === 'serving'
  const nothingRuns =
    reachable.every((server) => observed.get(server)!.current === null) &&
    !reachable.some((server) => observed.get(server)!.traffic === 'serving')
  // A canary is judged by what it answers: there, those that serve go first.
  const rank = (server: string) => Number(desired.strategy.kind === 'canary' ? !serves(server) : serves(server))
  const toSwitch = reachable
    .filter((server) => !unchanged.includes(server))
    .toSorted((a, b) => groupOf(a) - groupOf(b) || rank(a) - rank(b))
  const warm =
    !nothingRuns &&
    desired.handover !== undefined &&
    desired.handover !== 'restart' &&
    toSwitch.every((server) => observed.get(server)!.running && observed.get(server)!.handover === desired.handover)
  const together = nothingRuns || desired.strategy.kind === 'all-at-once'
  const spare = Math.max(1, reachable.length - healthyAtLeast(desired))
  const wanted =
    desired.strategy.batch === 'auto'
      ? carried(desired, reachable.length)
      : batchSize(desired.strategy.batch, desired.servers.length)
  const size = together || warm ? Math.max(1, toSwitch.length) : Math.min(wanted, spare)
  // Going back is no experiment, and where all switch there is nobody to compare with.
  const ahead =
    desired.strategy.kind === 'canary' && desired.kind === 'deploy' && !nothingRuns
      ? Math.min(batchSize(desired.strategy.canary, desired.servers.length), toSwitch.length, warm ? Infinity : spare)
      : 0
  const canary = ahead > 0 && ahead < toSwitch.length
  const batches = [
    ...(canary ? [toSwitch.slice(0, ahead)] : []),
    ...(together
      ? [toSwitch]
      : Object.values(Object.groupBy(toSwitch.slice(canary ? ahead : 0), groupOf)).map((group) => group ?? [])
    ).flatMap((group) => inBatches(group, size)),
  ]
  const firstStaged = toSwitch[0]
  return {
    kind: desired.kind,
    application: desired.application,
    environment: desired.environment,
    release: desired.release,
    from: desired.from,
    stage: toSwitch.map((server) => {
      const seen = observed.get(server)!
      return {
        server,
        from: seen.current,
        already: desired.release !== null && seen.releases.includes(desired.release),
      }
    }),
    releaseCommand:
      desired.kind === 'deploy' && desired.releaseCommand !== null && firstStaged !== undefined
        ? { server: firstStaged, command: desired.releaseCommand }
        : null,
    batches,
    unchanged,
    unreachable,
    warm,
    ...seenTraffic(reachable, observed),
    ...(desired.leftOut === undefined || desired.leftOut.length === 0 ? {} : { leftOut: [...desired.leftOut] }),
    gates: together ? [] : gatesOf(desired, batches, canary, groupOf),
    canary: canary
      ? {
          duration: desired.strategy.judge,
          traffic: desired.strategy.traffic === undefined ? null : Number.parseInt(desired.strategy.traffic, 10) / 100,
          queries: desired.strategy.prometheus?.queries.map(({ name }) => name) ?? [],
          inconclusive: desired.strategy.inconclusive,
        }
      : null,
    perServer: desired.drains && !warm ? ['drain', 'activate', 'register'] : ['activate'],
    bakeBatch: desired.hasService ? desired.strategy.bake_batch : 0,
    bake: desired.hasService ? desired.strategy.bake : 0,
    warnings: nothingRuns || warm ? [] : warningsOf(desired, size, toSwitch.length, reachable.length),
  }
}

/** What the balancer said, for who reads the plan. */
function seenTraffic(
  servers: readonly string[],
  observed: ReadonlyMap<string, ObservedServer | null>,
): Pick<Plan, 'traffic'> {
  const told = servers.flatMap((server) => {
    const traffic = observed.get(server)!.traffic
    return traffic == null ? [] : [[server, traffic] as const]
  })
  return told.length === 0 ? {} : { traffic: Object.fromEntries(told) }
}

/** What of the plan cannot be done here; null: all of it can. */
export function obstacle(desired: Desired, planned: Plan): DployError | null {
  if (desired.strategy.kind === 'blue-green') return groupsObstacle(desired)
  return (
    tooFewHealthy(desired, planned) ??
    lastServing(desired, planned) ??
    (planned.canary?.traffic != null && desired.splits !== true
      ? new DployError(
          'balancer.cannot_split',
          'strategy.traffic gives the canary a share of the traffic, and this balancer cannot do that',
        )
      : null)
  )
}

/** Why so many servers cannot be kept in traffic; null: they can. */
function tooFewHealthy(desired: Desired, planned: Plan): DployError | null {
  const { batches, unchanged, unreachable } = planned
  const least = healthyAtLeast(desired)
  const inTraffic = desired.servers.length - unreachable.length
  const largest = Math.max(0, ...batches.map(({ length }) => length))
  if (
    planned.warm ||
    desired.from === null ||
    largest === 0 ||
    desired.strategy.kind === 'all-at-once' ||
    inTraffic - largest >= least
  )
    return null
  return new DployError(
    'environment.too_few_healthy',
    `strategy.min_healthy keeps ${least} servers in traffic, and of ${inTraffic} that are here (${unchanged.length} run the release already) one at least has to leave it`,
  )
}

/**
 * Why the last server in traffic would have to leave it; null: it would not. Who is down may come up with the release; who was
 * taken out by somebody else stays out.
 */
function lastServing({ strategy, servers, leftOut = [], keptOut = [] }: Desired, planned: Plan): DployError | null {
  const { traffic, batches, warm, perServer } = planned
  if (warm || !perServer.includes('drain') || mayAllLeave({ strategy, servers }, batches)) return null
  const serving = servers.filter((server) => traffic?.[server] === 'serving')
  const come = servers.filter((server) => !leftOut.includes(server) && !keptOut.includes(server))
  const only = serving[0]
  if (serving.length !== 1 || only === undefined || !batches.flat().includes(only)) return null
  if (come.some((server) => server !== only && !planned.unreachable.includes(server))) return null
  return lastServingError(
    only,
    servers.filter((server) => server !== only),
    traffic ?? {},
  )
}

/** Whether all servers may leave the traffic at once: there is but one, or somebody wants it so. */
export function mayAllLeave(
  { strategy, servers }: Pick<Desired, 'strategy' | 'servers'>,
  batches: readonly (readonly string[])[],
): boolean {
  return (
    strategy.downtime === 'allowed' ||
    strategy.kind === 'all-at-once' ||
    servers.length <= 1 ||
    batches.some((batch) => batch.length === servers.length)
  )
}

/** What a deployment ends with that would take the last server out of traffic. */
export function lastServingError(
  only: string,
  others: readonly string[],
  traffic: Readonly<Record<string, TrafficState | undefined>>,
): DployError {
  const states = others.map((server) => `${server} is ${traffic[server] === 'down' ? 'down' : 'out of traffic'}`)
  return new DployError(
    'environment.last_serving',
    `${only} is the last server in traffic: ${states.join(', ')} at the balancer`,
    { where: only },
  )
}

/** How many servers `min_healthy` keeps in traffic: a number, or a share rounded up. */
export function healthyAtLeast({ strategy, servers }: Pick<Desired, 'strategy' | 'servers'>): number {
  const least = strategy.min_healthy
  return typeof least === 'number' ? least : Math.ceil((servers.length * Number.parseInt(least, 10)) / 100)
}

/** Which group of the order a server is in: the first tag that it has; those without one are last. */
function groups({ strategy, tags }: Desired): (server: string) => number {
  const order = strategy.order.map(
    (text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)] as const,
  )
  return (server) => {
    const index = order.findIndex(([name, value]) => tags?.get(server)?.[name] === value)
    return index < 0 ? order.length : index
  }
}

/** What lies between batches. Who goes back does not wait for anybody. */
function gatesOf(
  { strategy, kind }: Desired,
  batches: readonly (readonly string[])[],
  canary: boolean,
  groupOf: (server: string) => number,
): Plan['gates'] {
  return batches.slice(1).flatMap((batch, index) => {
    const after =
      canary && index === 0 ? 'canary' : groupOf(batches[index]![0]!) === groupOf(batch[0]!) ? 'batch' : 'group'
    const gate = {
      before: index + 1,
      after,
      bake: after === 'group' ? strategy.bake_group : 0,
      person: kind === 'deploy' && (strategy.pause === 'after_batch' || strategy.pause === `after_${after}`),
    } as const
    return gate.person || gate.bake > 0 ? [gate] : []
  })
}

/** The load may rise while a batch is out: so much more than now has to be carried. */
const headroom = 1.25
/** Where nobody says how much is asked. */
const unmeasured = '25%'

/** Batch auto: how many of the servers in traffic may leave it so that the others still carry the load of now with some headroom; at least one. */
function carried({ strategy, load }: Desired, inTraffic: number): number {
  if (load == null || strategy.capacity === undefined) return batchSize(unmeasured, inTraffic)
  return Math.max(1, inTraffic - Math.ceil((load * headroom) / strategy.capacity))
}

/** How many of `count` servers switch together: a number, or a share rounded down; at least one. */
export function batchSize(batch: number | string, count: number): number {
  const size = typeof batch === 'number' ? batch : Math.floor((count * Number.parseInt(batch, 10)) / 100)
  return Math.max(1, Math.min(size, Math.max(1, count)))
}

function inBatches(servers: readonly string[], size: number): string[][] {
  const batches: string[][] = []
  for (let start = 0; start < servers.length; start += size) batches.push(servers.slice(start, start + size))
  return batches
}

function warningsOf(desired: Desired, size: number, count: number, inTraffic: number): string[] {
  const warnings: string[] = []
  if (!desired.drains && desired.hasService && count > 0)
    warnings.push('No balancer takes servers out of traffic: requests in flight are cut when a server switches')
  const { load, strategy } = desired
  if (strategy.batch === 'auto' && load == null)
    warnings.push(`The balancer does not say how much is asked: ${unmeasured} of the servers switch at a time`)
  if (strategy.batch === 'auto' && load != null && load * headroom > (inTraffic - 1) * strategy.capacity!)
    warnings.push(
      `${Math.round(load)} requests a second are asked, and without one server the others carry ${Math.round((inTraffic - 1) * strategy.capacity!)} (strategy.capacity): they may be slow`,
    )
  if (desired.drains && size >= count && count > 0 && desired.servers.length === count)
    warnings.push('All servers switch together: nobody serves meanwhile')
  return warnings
}
