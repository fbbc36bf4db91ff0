import { releaseDirectory } from '../../../protocol/config/config.ts'
import type { EnvironmentSummary, ServerStatus, Status } from '../../../protocol/api/environments.ts'
import type { ServerTraffic } from '../../../balancers/contract.ts'
import { DployError, reportOf, type ErrorReport } from '../../../protocol/errors.ts'
import { driftOf } from '../../deploy/plan/drift.ts'
import { isIdle, liveGroupOf } from '../../deploy/strategies/groups.ts'
import { cloned } from '../../gateway/keys.ts'
import type { Environment, EnvironmentServer } from '../../store/applications.ts'
import type { Sighting } from '../../store/sightings.ts'
import type { ApiContext } from '../context.ts'

/** How long a server or balancer has to answer before the status says that it did not. Milliseconds. */
const askTimeout = 5_000

/** What an environment is meant to run, and what was done to it last. */
export async function summaryOf(context: ApiContext, environment: Environment): Promise<EnvironmentSummary> {
  const { store } = context
  const [servers, held, [last], wanted, awaiting, ended] = await Promise.all([
    store.applications.servers(environment.id),
    context.shared.holder(environment.id) ?? store.locks.holder(environment.id),
    store.summaries.list({ environmentId: environment.id, limit: 1 }),
    environment.wantedRelease === null ? null : store.releases.get(environment.wantedRelease),
    store.summaries.awaiting(environment.id),
    store.summaries.ended(environment.id),
  ])
  const lock = held !== null && held.expires > Date.now() ? held : null
  const own = environment.config.environments[environment.name]
  return {
    application: environment.application,
    environment: environment.name,
    servers: servers.map((server) => server.name),
    wanted:
      wanted === null
        ? null
        : {
            release: wanted.number,
            revision: wanted.spec.revision,
            since: (await store.summaries.activatedAt(environment.id, wanted.id)) ?? wanted.createdAt,
          },
    lock,
    waiting: lock === null ? null : await store.gates.waiting(lock.deployment),
    awaiting,
    branch: own?.branch ?? null,
    protected: own?.protected ?? false,
    takenOver: environment.takenOver && takenOverView(environment),
    live: liveGroupOf(environment.config.environments[environment.name], environment.liveGroup),
    last: last ? { number: last.number, state: last.state, finishedAt: last.finishedAt } : null,
    ended: ended && {
      number: ended.number,
      state: ended.state,
      startedAt: ended.startedAt,
      finishedAt: ended.finishedAt,
      receipt: ended.receipt,
    },
  }
}

/** What servers were ahead by, in words, and the command that ends the state. */
export function takenOverView(environment: Environment): NonNullable<EnvironmentSummary['takenOver']> {
  const { since, deployment } = environment.takenOver!
  const what =
    deployment === null
      ? 'The servers know of deployments that are not known here'
      : `The servers know of ${deployment.release === null ? `deployment ${deployment.number}` : `deployment ${deployment.number} of release ${deployment.release}`} by ${deployment.requestedBy}, which was not known here`
  return {
    since,
    text: `${what}: an older copy of this control plane's data, or somebody deployed without it. What they run is what is wanted now, and nothing converges by itself until a person has looked`,
    next: `dploy converge ${environment.name}`,
  }
}

/** The same with every server asked now, and the balancer. */
export async function statusOf(context: ApiContext, environment: Environment, signal: AbortSignal): Promise<Status> {
  const [summary, servers] = await Promise.all([
    summaryOf(context, environment),
    context.store.applications.servers(environment.id),
  ])
  const limit = AbortSignal.any([signal, AbortSignal.timeout(askTimeout)])
  const [traffic, statuses] = await Promise.all([
    readTraffic(context, environment, servers, limit),
    Promise.all(
      servers.map((server) => serverStatus(context, environment, server, summary.wanted?.release ?? null, limit)),
    ),
  ])
  const seen = Array.isArray(traffic)
    ? new Map(traffic.map((one) => [one.server, one]))
    : new Map<string, ServerTraffic>()
  return {
    ...summary,
    balancerProblem: Array.isArray(traffic) ? null : traffic,
    servers: statuses.map((status) => {
      const one = seen.get(status.name)
      return { ...status, traffic: one ? { admission: one.admission, up: one.up, inFlight: one.inFlight } : null }
    }),
  }
}

/** One server of an environment, asked now; of one that is away, what it was last seen to run. */
export async function serverStatus(
  context: ApiContext,
  environment: Environment,
  server: EnvironmentServer,
  wanted: number | null,
  signal: AbortSignal,
): Promise<ServerStatus> {
  const link = context.gateway.link(server.id)
  const base: ServerStatus = {
    name: server.name,
    tags: server.tags,
    connected: link !== null,
    lastSeenAt: null,
    observedAt: null,
    release: null,
    service: null,
    idle: isIdle(server, environment.config.environments[environment.name], environment.liveGroup),
    drifted: false,
    traffic: null,
    problem: null,
  }
  const seenAs = ({ seenAt, release, service }: Sighting) => ({
    observedAt: seenAt,
    release,
    service,
    drifted: driftOf({ release, service }, base.idle ? release : wanted) !== null,
  })
  const lastSeen = async () => {
    const last = await context.store.sightings.last(environment.id, server.id)
    return last ? seenAs(last) : {}
  }
  if (!link) {
    const stored = await context.store.servers.find(server.id)
    const never = !context.shared.alone && stored?.publicKey === null
    const problem = stored?.lockedAt
      ? cloned(server.name)
      : never
        ? new DployError('server.unreachable', 'No agent has joined under this name', {
            where: server.name,
            fix: `Install one: dploy server add ${server.name}`,
          })
        : context.gateway.problem(server)
    return { ...base, lastSeenAt: stored?.lastSeenAt ?? null, ...(await lastSeen()), problem: problem.toJSON() }
  }
  try {
    const place = {
      application: environment.application,
      environment: environment.name,
      directory: releaseDirectory(environment.config, environment.name),
    }
    const seen = await link.command('observe', place, {
      application: place.application,
      environment: place.environment,
      epoch: 0,
      signal,
    })
    if (seen.machine) context.vitals.add(server.id, seen.machine, Date.now())
    const sighting = { seenAt: Date.now(), release: seen.current, service: seen.service }
    await context.store.sightings.add(environment.id, server.id, sighting)
    return { ...base, lastSeenAt: sighting.seenAt, ...seenAs(sighting) }
  } catch (error) {
    return { ...base, ...(await lastSeen()), problem: reportOf(error, server.name) }
  }
}

async function readTraffic(
  context: ApiContext,
  environment: Environment,
  servers: readonly EnvironmentServer[],
  signal: AbortSignal,
): Promise<ServerTraffic[] | ErrorReport> {
  const config = environment.config.environments[environment.name]
  if (!config || config.balancer.kind === 'none' || servers.length === 0) return []
  try {
    await using balancer = context.openBalancer(config.balancer)
    return await balancer.read(
      servers.map((server) => server.name),
      signal,
    )
  } catch (error) {
    return reportOf(error)
  }
}
