import { DployError, reportOf } from '../../../protocol/errors.ts'
import type { DeploymentState } from '../../../protocol/deployment.ts'
import type { DeploymentRow } from '../../store/deployments.ts'
import { activate, keepServing } from '../phases/activate.ts'
import { Ahead } from '../plan/ahead.ts'
import { restoreTraffic } from '../strategies/canary.ts'
import { commit } from '../phases/commit.ts'
import { Failures } from './failures.ts'
import { Lease, type Patience } from '../lock/lease.ts'
import { build, resolve } from '../phases/resolve.ts'
import { rollBack } from '../phases/roll-back.ts'
import { Run, type RunnerOptions } from './run.ts'
import type { SharedLock } from '../lock/shared-lock.ts'
import { stage } from '../phases/stage.ts'
import { isCommitted, isFinal } from './states.ts'
import { backToReplaced } from '../phases/back-to-replaced.ts'
import { guardUsers } from '../strategies/guard.ts'
import { retireBooted } from '../phases/warm.ts'
import { Watch } from '../phases/watch.ts'

/** How long a balancer has to take a change after a deployment that failed. Milliseconds. */
const restoreTimeout = 10_000

/** Why a run stops without an end: the control plane is stopping; the next one goes on where this one was. */
export class Stopping extends Error {
  constructor() {
    super('The control plane is stopping')
    this.name = 'Stopping'
  }
}

/** Begins to measure what users notice; ends with the receipt. */
export interface Measure {
  start(run: Run): Promise<AsyncDisposable & { finish(): Promise<void> }>
}

/**
 * Runs a deployment to its end, from whatever state it is stored in: a new one from the start, one that a killed
 * control plane left behind from where it was. Takes the environment's lock for as long as it runs.
 *
 * `signal` cancels (reason `deployment.cancelled`), takes the lock away (`lock.lost`) or stops (Stopping). Throws `environment.locked` when the
 * lock is held by somebody whom `wait` does not wait for; the deployment is then `failed`.
 */
export async function runDeployment(
  id: string,
  options: RunnerOptions,
  measure: Measure,
  control: { wait: Patience; signal: AbortSignal },
): Promise<DeploymentState> {
  const row = await options.store.deployments.get(id)
  if (isFinal(row.state)) return row.state
  await using ahead = options.shared.alone ? await beginAhead(row, options) : null
  await using held = new AsyncDisposableStack()
  const takeShared = async () =>
    held.use(await orAbandon(id, options, control, () => options.shared.take(row, control)))
  const takeLease = async () =>
    held.use(
      await orAbandon(id, options, control, () =>
        Lease.acquire(options.store.locks, row.environmentId, id, options.holder, control),
      ),
    )
  // A laptop learns from the servers which token comes next. Within a control plane its own deployments wait for each other first.
  const early = options.shared.alone ? await takeShared() : null
  const lease = await takeLease()
  if (row.state !== 'queued' && lease.fence !== row.fence + 1) {
    // Somebody held or opened the lock since: what they did is newer than what this one would go on with.
    await options.store.deployments.abandon(
      id,
      reportOf(
        new DployError(
          'lock.lost',
          `Deployment ${row.number} was interrupted, and its lock was taken or opened by others meanwhile`,
        ),
      ),
      Date.now(),
    )
    return 'failed'
  }
  const shared = early ?? (await takeShared())
  await lease.raise()
  await using run = await openRun(id, options, lease, { shared, ahead }, control.signal)
  if (options.shared.alone && shared.byControl)
    run.note(
      null,
      'a control plane deployed here last: it learns of this when its agents connect or it deploys next, and undoes nothing',
    )
  await using measuring = await measure.start(run)
  const failures = new Failures(run.environment.strategy.max_failures)
  guardUsers(run, failures)
  const dying = new Map<string, PromiseWithResolvers<void>>(
    run.servers.map((server) => [server.name, Promise.withResolvers<void>()]),
  )
  await using watch = new Watch(run, (server, error) => {
    run.note(server, `failed after it was switched: ${reportOf(error).message}`)
    failures.add(server, error)
    dying.get(server.name)!.resolve()
  })
  while (!isFinal(run.state)) {
    try {
      shared.note(run.state)
      await advance(run, failures, watch, (server) => dying.get(server.name)!.promise, control.signal)
    } catch (error) {
      if (!(await settle(run, error))) return (await run.store.deployments.get(run.id)).state
    }
  }
  // The servers are told while the receipt is made, and with the end of the watch.
  await Promise.all([watch[Symbol.asyncDispose](), shared[Symbol.asyncDispose]()])
  await measuring.finish()
  await options.store.events.flush()
  return run.state
}

async function advance(
  run: Run,
  failures: Failures,
  watch: Watch,
  urgent: (server: { name: string }) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  switch (run.state) {
    case 'queued':
      return run.transition(run.release ? 'staging' : 'resolving')
    case 'resolving':
      return resolve(run)
    case 'building':
      return build(run)
    case 'staging':
      return stage(run)
    case 'committing':
      return commit(run)
    case 'activating':
      return activate(run, failures, watch)
    case 'baking':
      return keepServing(run, failures)
    case 'rolling_back':
      await rollBack(run, urgent, stopOnly(signal, run))
      return run.transition('rolled_back')
    case 'waiting_for_approval':
      throw new DployError('deployment.conflict', 'The deployment waits for approval')
    case 'succeeded':
    case 'rolled_back':
    case 'failed':
    case 'cancelled':
      return
    default:
      run.state satisfies never
  }
}

/** Decides what a failure means where the deployment stands. False: nothing more is to be written (stopping, lock lost). */
async function settle(run: Run, error: unknown): Promise<boolean> {
  if (error instanceof Stopping || run.signal.reason instanceof Stopping) return false
  if (error instanceof DployError && error.code === 'lock.lost') {
    run.options.log.warn({ deployment: run.number }, 'the lock was lost; this run stops')
    // Who took the servers' own lock knows nothing of what is stored here: here it is over, and why is told.
    if (run.options.shared.alone || run.shared.signal.aborted)
      await run.store.deployments.abandon(run.id, reportOf(error), Date.now())
    return false
  }
  const failure = reportOf(error)
  if (failure.code === 'internal')
    run.options.log.error({ deployment: run.number, err: error }, 'unexpected error in a deployment')
  if (!isCommitted(run.state)) {
    await retireBooted(run)
    await run.transition(failure.code === 'deployment.cancelled' ? 'cancelled' : 'failed', { failure })
  } else if (run.state === 'rolling_back') {
    await run.transition('failed', { failure })
  } else if (run.row.kind === 'converge') {
    await run.transition('failed', { failure })
  } else if (run.from === null) {
    await restoreTraffic(run, AbortSignal.timeout(restoreTimeout)).catch((problem: unknown) =>
      run.note(null, `the balancer still holds the canary's share: ${reportOf(problem).message}`),
    )
    await backToReplaced(run)
    await run.transition('failed', {
      failure: { ...failure, message: `${failure.message} (there is no earlier release to go back to)` },
      wantedRelease: null,
      ...(run.row.plan?.groups ? { liveGroup: null } : {}),
    })
  } else {
    await run.transition('rolling_back', { failure, wantedRelease: run.from.id })
  }
  return true
}

/** While rolling back a cancellation is no longer listened to; only a stop or the loss of the lock is. */
function stopOnly(signal: AbortSignal, run: Run): AbortSignal {
  const controller = new AbortController()
  const forward = () => {
    const reason: unknown = signal.aborted ? signal.reason : run.lease.reason
    if (reason instanceof Stopping || (reason instanceof DployError && reason.code === 'lock.lost'))
      controller.abort(reason)
  }
  signal.addEventListener('abort', forward, { once: true })
  run.lease.addEventListener('abort', forward, { once: true })
  forward()
  return controller.signal
}

/** Takes a lock; a deployment that does not get it is over. */
async function orAbandon<T>(
  id: string,
  options: RunnerOptions,
  control: { signal: AbortSignal },
  take: () => Promise<T>,
): Promise<T> {
  try {
    return await take()
  } catch (error) {
    if (!(control.signal.reason instanceof Stopping)) {
      const report = reportOf(error)
      await options.store.deployments.abandon(id, report, Date.now())
      await options.store.events.flush()
    }
    throw error
  }
}

/** Servers that keep the lock themselves are some round trips away. */
async function beginAhead(row: DeploymentRow, { store, artifacts }: RunnerOptions): Promise<Ahead | null> {
  const { name } = await store.applications.environmentById(row.environmentId)
  return Ahead.of(row, row.config.environments[name]?.branch ?? null, artifacts)
}

async function openRun(
  id: string,
  options: RunnerOptions,
  lease: Lease,
  { shared, ahead }: { shared: SharedLock; ahead: Ahead | null },
  signal: AbortSignal,
): Promise<Run & AsyncDisposable> {
  const held = AbortSignal.any([lease.signal, shared.signal])
  const { store } = options
  const row = await store.deployments.get(id)
  const environment = await store.applications.environmentById(row.environmentId)
  const all = await store.applications.servers(row.environmentId)
  const servers =
    row.request.servers === null ? all : all.filter((server) => row.request.servers!.includes(server.name))
  const config = row.config.environments[environment.name]
  if (!config) throw new DployError('environment.unknown', `dploy.yml names no environment ${environment.name}`)
  const balancer = options.openBalancer(config.balancer)
  if (row.state === 'queued' && row.fromReleaseId !== environment.wantedRelease) {
    // Another deployment may have ended while this one waited for the lock.
    await store.deployments.setFrom(id, lease.fence, environment.wantedRelease)
    row.fromReleaseId = environment.wantedRelease
  }
  const run = new Run({
    row,
    environmentName: environment.name,
    fence: lease.fence,
    servers,
    balancer,
    options,
    lease: held,
    shared,
    ahead,
    liveGroup: environment.liveGroup,
    signal: AbortSignal.any([signal, held]),
    release: row.releaseId === null ? null : await store.releases.get(row.releaseId),
    from: row.fromReleaseId === null ? null : await store.releases.get(row.fromReleaseId),
  })
  return Object.assign(run, { [Symbol.asyncDispose]: () => balancer[Symbol.asyncDispose]() })
}
