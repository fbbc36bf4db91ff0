import { releaseDirectory } from '../../../protocol/config/config.ts'
import { handoverOf } from '../../../protocol/release-spec.ts'
import type * as z from 'zod'
import type { routes } from '../../../protocol/api/contract.ts'
import { DployError, reportOf, type ErrorReport } from '../../../protocol/errors.ts'
import type { ServerTraffic } from '../../../balancers/contract.ts'
import { loadNow } from '../../deploy/plan/load.ts'
import { askBalancer } from '../../deploy/run/admission.ts'
import { forPlan, type Observation } from '../../deploy/run/observe.ts'
import { plan, obstacle, type Desired } from '../../deploy/plan/plan.ts'
import { lacksOf, noWayBack, stuckServers } from '../../deploy/plan/way-back.ts'
import type { Environment } from '../../store/applications.ts'
import type { ApiContext } from '../context.ts'
import type { promotedFrom } from './promotion.ts'

/** How long a server has to answer. Milliseconds. */
const askTimeout = 5_000

/** Of so many deployments before, how long they took is what the next one will take. */
const usualOf = 5

/** What a deployment of this revision would do, from what is seen now. Changes nothing. */
export async function preview(
  context: ApiContext,
  environment: Environment,
  wantedRevision: string | null | Awaited<ReturnType<typeof promotedFrom>>,
  signal: AbortSignal,
): Promise<z.output<typeof routes.plan.response>> {
  const { store, artifacts } = context
  const { config } = environment
  const wanted = config.environments[environment.name]
  if (!wanted) throw new DployError('environment.unknown', `dploy.yml names no environment ${environment.name}`)
  const servers = await store.applications.servers(environment.id)
  const promoted = typeof wantedRevision === 'object' ? wantedRevision : null
  const revision =
    promoted?.promoted.revision ??
    (await artifacts.resolve(config, environment.base, wantedRevision as string | null, wanted.branch ?? null, signal))
  const from = environment.wantedRelease === null ? null : await store.releases.get(environment.wantedRelease)
  const problems: ErrorReport[] = []
  const limit = AbortSignal.any([signal, AbortSignal.timeout(askTimeout)])
  const place = {
    application: environment.application,
    environment: environment.name,
    directory: releaseDirectory(config, environment.name),
  }
  const observed = new Map<string, Observation | DployError>()
  await Promise.all(
    servers.map(async (server) => {
      try {
        const link = context.gateway.link(server.id)
        if (!link) throw context.gateway.problem(server)
        observed.set(
          server.name,
          await link.command('observe', place, {
            application: place.application,
            environment: place.environment,
            epoch: 0,
            signal: limit,
          }),
        )
      } catch (error) {
        problems.push(reportOf(error, server.name))
      }
    }),
  )
  try {
    await store.secrets.current(
      environment.id,
      [...config.secrets, ...wanted.secrets],
      `${environment.application}/${environment.name}`,
    )
  } catch (error) {
    problems.push(reportOf(error))
  }
  await using balancer = context.openBalancer(wanted.balancer)
  let traffic: ReadonlyMap<string, ServerTraffic> = new Map()
  try {
    await balancer.check(
      servers.map((server) => server.name),
      limit,
    )
    traffic = await askBalancer(
      balancer,
      servers.map((server) => server.name),
      limit,
    )
  } catch (error) {
    problems.push(reportOf(error))
  }
  const desired: Desired = {
    kind: 'deploy',
    application: environment.application,
    environment: environment.name,
    release: null,
    from: from?.number ?? null,
    servers: servers.map((server) => server.name),
    tags: new Map(servers.map((server) => [server.name, server.tags])),
    strategy: wanted.strategy,
    live: environment.liveGroup,
    releaseCommand: config.release_command?.command ?? null,
    drains: balancer.capabilities.drains,
    load: await loadNow(
      balancer,
      wanted.strategy,
      servers.map(({ name }) => name),
      limit,
    ).catch(() => null),
    splits: balancer.split !== undefined,
    hasService: config.service !== undefined,
    handover: handoverOf(config.service ?? null),
  }
  const value = plan(
    desired,
    new Map(servers.map(({ name }) => [name, forPlan(observed.get(name), traffic.get(name))])),
  )
  const few = obstacle(desired, value)
  if (few) problems.push(few.toJSON())
  if (from) {
    const here = await store.secrets.here(from.spec.secrets ?? {})
    const notHere = Object.keys(from.spec.secrets ?? {}).filter((name) => here[name] === undefined)
    const lacks = async (server: string) => lacksOf(observed.get(server) as Observation, from, notHere)
    const stuck = noWayBack(from, await stuckServers(observed, lacks))
    if (stuck) problems.push(stuck.toJSON())
  }
  value.warnings.push(
    ...(balancer.advice?.({
      batches: value.batches.length,
      drain: wanted.timeouts.drain,
      register: wanted.timeouts.register,
    }) ?? []),
  )
  const fromCommit = from?.spec.revision.commit ?? null
  const between = (a: string | null, b: string | null) =>
    a !== null && b !== null && a !== b ? artifacts.between(config, environment.base, a, b) : []
  const [commitsAhead, commitsLost] = await Promise.all([
    between(fromCommit, revision.commit),
    between(revision.commit, fromCommit),
  ])
  const artifact =
    promoted?.artifact ??
    (await artifacts.known(config, environment.base, revision, signal).catch((error: unknown) => {
      problems.push(reportOf(error))
      return null
    }))
  const usual = await store.summaries.durations(environment.id, usualOf)
  return {
    plan: value,
    revision,
    commitsAhead,
    commitsLost,
    problems,
    built: artifact !== null,
    transfer: artifact === null ? null : await artifacts.transfer(from?.spec.artifact ?? null, artifact, signal),
    balancer: wanted.balancer.kind,
    protected: wanted.protected,
    usualMs: median(usual),
    usualRange: usual.length === 0 ? null : { least: Math.min(...usual), most: Math.max(...usual) },
    promoted: promoted && { environment: promoted.promoted.environment, release: promoted.promoted.release },
  }
}

function median(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
}
