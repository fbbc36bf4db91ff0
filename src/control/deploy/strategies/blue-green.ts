import type { Span } from '../../../protocol/agent-messages.ts'
import type { Plan, StepState } from '../../../protocol/deployment.ts'
import { DployError, reportOf } from '../../../protocol/errors.ts'
import type { EnvironmentServer } from '../../store/applications.ts'
import { abortIfNeeded, activateServer, gateBefore } from '../phases/activate.ts'
import type { Failures } from '../run/failures.ts'
import type { Run } from '../run/run.ts'
import type { Watch } from '../phases/watch.ts'

type Groups = NonNullable<Plan['groups']>

/** In these states a server's part before the switch is done, one way or another. */
const prepared: ReadonlySet<StepState> = new Set<StepState>(['switched', 'unchanged', 'quarantined', 'failed'])
/** In these a server of the group was touched after the commit point. */
const touched: ReadonlySet<StepState> = new Set<StepState>([
  'draining',
  'activating',
  'registering',
  'switched',
  'failed',
  'quarantined',
  'reverting',
])

/**
 * Makes the group that does not serve run the release, out of traffic, and then gives it the traffic: first its servers
 * come in, then those of the other group go out. Which group serves is stored before the first one moves, so that
 * whoever goes on after a kill finishes the same switch.
 */
export async function activateGroup(run: Run, groups: Groups, failures: Failures, watch: Watch): Promise<void> {
  const signal = AbortSignal.any([run.signal, failures.signal])
  const states = new Map((await run.store.deployments.steps(run.id)).map((step) => [step.server, step.state]))
  const switching = run.liveGroup === groups.next && groups.live !== groups.next
  await Promise.all(
    groups.enter
      .map((name) => run.server(name))
      .map(async (server) => {
        const state = states.get(server.name)!
        if (state === 'switched' || state === 'registering' || state === 'unchanged') watch.start(server, run.release!)
        // Once the traffic has begun to change over, taking a server out again to look at it would leave nobody.
        if (prepared.has(state) || (state === 'registering' && switching)) return
        await prepare(run, server, failures, watch, signal)
      }),
  )
  abortIfNeeded(run, failures)
  if (!switching) await gateBefore(run, 1, failures)
  await changeOver(run, groups, failures, signal)
  abortIfNeeded(run, failures)
  await run.transition('baking')
}

async function prepare(
  run: Run,
  server: EnvironmentServer,
  failures: Failures,
  watch: Watch,
  signal: AbortSignal,
): Promise<void> {
  const spans: Span[] = []
  try {
    await activateServer(
      run,
      server,
      run.release!,
      signal,
      { draining: 'draining', activating: 'activating', registering: 'registering' },
      spans,
      false,
    )
    await run.step(server, 'registering', { spans })
    watch.start(server, run.release!)
  } catch (error) {
    await quarantine(run, server, failures, error, spans)
  }
}

/** All of one group in, then all of the other out: for an instant both serve, and never nobody. */
async function changeOver(run: Run, groups: Groups, failures: Failures, signal: AbortSignal): Promise<void> {
  const states = new Map((await run.store.deployments.steps(run.id)).map((step) => [step.server, step.state]))
  const entering = groups.enter
    .filter((name) => states.get(name) !== 'quarantined' && states.get(name) !== 'failed' && !failures.has(name))
    .map((name) => run.server(name))
  if (entering.length === 0)
    throw new DployError('deployment.too_many_failures', `No server of ${groups.next} can serve`)
  run.event(null, { kind: 'progress', phase: `the traffic goes to ${groups.next}` })
  await run.setLiveGroup(groups.next)
  await Promise.all(
    entering.map(async (server) => {
      const span = { name: 'register', start: run.elapsed(), end: 0 }
      try {
        await enter(run, server, signal)
        if (states.get(server.name) !== 'unchanged' && states.get(server.name) !== 'switched')
          await run.step(server, 'switched', { spans: [{ ...span, end: run.elapsed() }] })
      } catch (error) {
        await quarantine(run, server, failures, error, [])
      }
    }),
  )
  abortIfNeeded(run, failures)
  await run.timed('drain', () => leave(run, groups.leave, run.environment.timeouts.drain, signal))
}

/** Gives the traffic back to the group that had it, which kept its release warm; then the other gets the release that it had before. */
export async function switchBack(run: Run, groups: Groups, signal: AbortSignal): Promise<void> {
  const steps = await run.store.deployments.steps(run.id)
  if (groups.live !== groups.next && run.liveGroup === groups.next) {
    await run.setLiveGroup(groups.live)
    await run.timed('register', () => enterAgain(run, groups, signal))
    await run.timed('drain', () => leave(run, groups.enter, run.environment.timeouts.drain, signal))
  }
  await Promise.all(
    steps
      .filter(({ server, state }) => groups.enter.includes(server) && touched.has(state))
      .map(async ({ server: name }) => {
        const server = run.server(name)
        try {
          await run.step(server, 'reverting')
          await revert(run, server, groups, signal)
          await run.step(server, 'reverted')
        } catch (error) {
          signal.throwIfAborted()
          // Nobody is served by it: that it could not go back is told, and no reason to call the way back failed.
          run.note(server, `does not run the release that it had before: ${reportOf(error).message}`)
          await run.step(server, 'quarantined', { failure: reportOf(error, name) })
        }
      }),
  )
}

/** One that cannot come back is told; none that can is an error. */
async function enterAgain(run: Run, groups: Groups, signal: AbortSignal): Promise<void> {
  const came = await Promise.allSettled(groups.leave.map((name) => enter(run, run.server(name), signal)))
  signal.throwIfAborted()
  const failed = came.flatMap((one, index) =>
    one.status === 'rejected' ? [{ name: groups.leave[index]!, error: one.reason as unknown }] : [],
  )
  for (const { name, error } of failed)
    run.note(run.server(name), `does not come back into the traffic: ${reportOf(error).message}`)
  if (failed.length > 0 && failed.length === came.length) throw failed[0]!.error
}

async function revert(run: Run, server: EnvironmentServer, groups: Groups, signal: AbortSignal): Promise<void> {
  const number = run.row.plan!.stage.find((one) => one.server === server.name)?.from ?? null
  if (number === null) return
  const release = await run.store.releases.byNumber(run.row.environmentId, number)
  // Where both groups served before there were any, this one does so again.
  await activateServer(
    run,
    server,
    release,
    signal,
    { draining: 'reverting', activating: 'reverting', registering: 'reverting' },
    [],
    groups.live === null,
  )
}

/** Keeps the group that does not serve out of traffic, by a control plane that did not take it out itself. */
export async function holdIdle(run: Run): Promise<void> {
  const { groups } = run.row.plan!
  if (groups) await leave(run, groups.leave, 0, run.signal)
}

/** Puts servers into the traffic that are ready for it. */
export async function enterTraffic(run: Run, names: readonly string[], signal: AbortSignal): Promise<void> {
  await Promise.all(names.map((name) => enter(run, run.server(name), signal)))
}

async function enter(run: Run, server: EnvironmentServer, signal: AbortSignal): Promise<void> {
  if ((await run.store.servers.find(server.id))?.keptOut)
    return run.note(server, `it stays out of traffic until: dploy server ready ${server.name}`)
  await run.balancer.register(server.name, { timeout: run.environment.timeouts.register, signal })
}

async function leave(run: Run, names: readonly string[], timeout: number, signal: AbortSignal): Promise<void> {
  await Promise.all(names.map((name) => run.balancer.drain(name, { timeout, signal })))
}

async function quarantine(
  run: Run,
  server: EnvironmentServer,
  failures: Failures,
  error: unknown,
  spans: Span[],
): Promise<void> {
  run.signal.throwIfAborted()
  if (failures.signal.aborted) return
  failures.add(server, error)
  await run.step(server, 'quarantined', { failure: reportOf(error, server.name), spans })
}
