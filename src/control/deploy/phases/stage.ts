import { DployError, reportOf } from '../../../protocol/errors.ts'
import type { Plan } from '../../../protocol/deployment.ts'
import type { Digest } from '../../../protocol/manifest.ts'
import type { EnvironmentServer } from '../../store/applications.ts'
import { loadNow } from '../plan/load.ts'
import { askBalancer, whoStaysOut } from '../run/admission.ts'
import { forPlan, observeServers, type Observation } from '../run/observe.ts'
import { plan, obstacle, type Desired } from '../plan/plan.ts'
import { noWayBack, stuckServers } from '../plan/way-back.ts'
import { handoverOf } from '../../../protocol/release-spec.ts'
import type { Release } from '../../store/releases.ts'
import type { Run } from '../run/run.ts'
import { bootBeside } from './warm.ts'

/** Brings the release onto all servers at once, without touching traffic. If one fails, no server has changed. */
export async function stage(run: Run): Promise<void> {
  const release = run.release!
  const [observed, load] = await Promise.all([
    observeServers(run, run.signal),
    loadNow(
      run.balancer,
      run.environment.strategy,
      run.servers.map(({ name }) => name),
      run.signal,
    ),
    checkBalancer(run),
  ])
  const names = run.servers.map(({ name }) => name)
  const traffic = await askBalancer(run.balancer, names, run.signal)
  const out = await whoStaysOut(run, traffic)
  const desired: Desired = {
    kind: run.row.kind,
    application: run.row.config.application,
    environment: run.environmentName,
    release: release.number,
    from: run.from?.number ?? null,
    servers: run.servers.map((server) => server.name),
    tags: new Map(run.servers.map((server) => [server.name, server.tags])),
    strategy: run.environment.strategy,
    live: run.liveGroup,
    releaseCommand: release.spec.release_command?.command ?? null,
    drains: run.balancer.capabilities.drains,
    load,
    splits: run.balancer.split !== undefined,
    hasService: release.spec.service !== null,
    handover: handoverOf(release.spec.service),
    leftOut: out.byHand,
    keptOut: out.kept,
  }
  const planned = plan(desired, new Map(names.map((name) => [name, forPlan(observed.get(name), traffic.get(name))])))
  const few = run.row.kind === 'converge' ? null : obstacle(desired, planned)
  if (few) throw few
  checkUnreachable(run, planned, observed)
  await checkWayBack(run, planned, observed)
  const { drain, register } = run.environment.timeouts
  for (const advice of run.balancer.advice?.({ batches: planned.batches.length, drain, register }) ?? []) {
    planned.warnings.push(advice)
    run.note(null, advice)
  }
  for (const name of out.byHand)
    run.note(
      run.server(name),
      `somebody else took it out of traffic: it gets the release and stays out, until: dploy server ready ${name}`,
    )
  run.row.plan = planned
  await run.store.deployments.setPlan(run.id, run.fence, planned, run.servers, Date.now())
  const results = await Promise.allSettled(
    planned.stage.map(async ({ server: name }) => {
      const server = run.server(name)
      await run.step(server, 'staging')
      try {
        await stageServer(run, server, release, observed.get(name) as Observation, {
          signal: run.signal,
          counted: true,
          warm: planned.warm === true,
        })
      } catch (error) {
        run.signal.throwIfAborted()
        await run.step(server, 'failed', { failure: reportOf(error, name) })
        throw error
      }
    }),
  )
  run.signal.throwIfAborted()
  const failed = results.find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
  await run.transition('committing')
}

/** Stages a release on one server; staging what is there already moves nothing. */
export async function stageServer(
  run: Run,
  server: EnvironmentServer,
  release: Release,
  observation: Observation,
  options: { signal: AbortSignal; counted: boolean; warm?: boolean },
): Promise<void> {
  const began = run.elapsed()
  const held = observation.releases.find((one) => one.number === observation.current) ?? observation.releases.at(-1)
  const delta = await deltaFor(run, observation, held?.artifact ?? null, release.spec.artifact)
  const result = await run.command(
    server,
    'stage',
    {
      release: release.spec,
      local: await run.localOf(server, release),
      from: held?.artifact ?? null,
    },
    {
      timeout: run.environment.timeouts.stage,
      signal: options.signal,
      body: delta,
      id: `${run.id}:${run.fence}:stage:${release.number}:${server.id}`,
    },
  )
  if (!options.counted) return
  const ended = run.elapsed()
  const beside = options.warm === true ? await bootBeside(run, server, release, options.signal) : []
  await run.step(server, 'staged', {
    spans: [
      { name: 'stage', start: began, end: ended },
      ...result.spans.map((span) => ({ name: span.name, start: began + span.start, end: began + span.end })),
      ...beside,
    ],
    bytes: result.already ? 0 : result.bytes + delta.length,
    objects: result.objects,
  })
}

/** What turns the manifest that the server has into the one it needs; nothing where it has that one and nobody here does. */
async function deltaFor(run: Run, observation: Observation, from: Digest | null, to: Digest): Promise<Uint8Array> {
  try {
    return await run.options.artifacts.delta(from, to)
  } catch (error) {
    const isThere = observation.releases.some((one) => one.artifact === to)
    if (isThere && error instanceof DployError && error.code === 'object.missing') return new Uint8Array(0)
    throw error
  }
}

/** Nothing passes the commit point that could not be switched back, unless a person said that it may. Throws `release.no_way_back`. */
async function checkWayBack(
  run: Run,
  planned: Plan,
  observed: ReadonlyMap<string, Observation | DployError>,
): Promise<void> {
  const { from } = run
  if (from === null || run.row.kind === 'converge') return
  const stuck = await stuckServers(observed, (server) => run.lackedBy(server, from))
  const problem = noWayBack(from, stuck)
  if (problem === null) return
  if (run.row.request.noWayBack !== true) throw problem
  const warning = `${problem.message}. If this deployment fails, these servers are left out of traffic`
  planned.warnings.push(warning)
  run.note(null, warning)
}

function checkUnreachable(
  run: Run,
  { unreachable, groups }: Plan,
  observed: ReadonlyMap<string, Observation | DployError>,
): void {
  const reached = groups ? groups.enter.length : run.servers.length - unreachable.length
  if (unreachable.length <= run.environment.strategy.max_unavailable && reached > 0) {
    for (const name of unreachable)
      run.note(run.server(name), 'cannot be reached; left drained, converges when it returns')
    return
  }
  const first = observed.get(unreachable[0]!) as DployError
  const names =
    unreachable.length > 5
      ? `${unreachable.slice(0, 5).join(', ')} and ${unreachable.length - 5} more`
      : unreachable.join(', ')
  throw new DployError(
    first.code,
    unreachable.length === 1
      ? first.message
      : `${unreachable.length} servers cannot be reached: ${names}. ${first.message}`,
    { where: names, fix: first.fix, cause: first },
  )
}

async function checkBalancer(run: Run): Promise<void> {
  await run.balancer.check(
    run.servers.map((server) => server.name),
    run.signal,
  )
}
