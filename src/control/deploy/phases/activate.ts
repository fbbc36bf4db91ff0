import { setTimeout as delay } from 'node:timers/promises'
import type { Span } from '../../../protocol/agent-messages.ts'
import type { StepState } from '../../../protocol/deployment.ts'
import { formatDuration } from '../../../protocol/duration.ts'
import { reportOf } from '../../../protocol/errors.ts'
import type { EnvironmentServer } from '../../store/applications.ts'
import type { Release } from '../../store/releases.ts'
import { activateGroup, enterTraffic, holdIdle } from '../strategies/blue-green.ts'
import { judgeCanary, restoreTraffic, splitTraffic } from '../strategies/canary.ts'
import { leftOutOfTraffic, mayLeave } from '../run/admission.ts'
import type { Failures } from '../run/failures.ts'
import { passGate } from '../strategies/gate.ts'
import { guardUsers } from '../strategies/guard.ts'
import type { Run } from '../run/run.ts'
import { spare, tooFewLeft } from '../plan/spare.ts'
import type { Watch } from './watch.ts'

/** Switches the servers, batch after batch. Servers over the allowed number of failures abort `failures.signal`. */
export async function activate(run: Run, failures: Failures, watch: Watch): Promise<void> {
  const states = new Map((await run.store.deployments.steps(run.id)).map((step) => [step.server, step.state]))
  const planned = run.row.plan!
  // Told before any is switched; after a restart of the control plane, those that were switched before it.
  for (const name of planned.unchanged) void run.users?.serves(name, 'new')
  for (const [name, state] of states) if (state === 'switched') void run.users?.serves(name, 'new')
  await drainUnreachable(run, planned.unreachable)
  if (planned.groups) return activateGroup(run, planned.groups, failures, watch)
  // Once groups took turns here; switched in another way, all serve.
  const all = run.liveGroup !== null && run.row.kind !== 'converge'
  if (all) await enterTraffic(run, planned.unchanged, run.signal)
  for (const name of planned.batches.flat())
    if (states.get(name) === 'switched') watch.start(run.server(name), run.release!)
  for (const [index, batch] of planned.batches.entries()) {
    const left = batch.filter((name) => !over.has(states.get(name)!)).map((name) => run.server(name))
    if (left.length > 0) {
      await gateBefore(run, index, failures)
      // Before a canary is registered, so that it never gets more; and before the others leave the traffic.
      await (index === 0 ? splitTraffic(run, batch, run.signal) : restoreTraffic(run, run.signal))
      if (planned.batches.length > 1)
        run.event(null, { kind: 'progress', phase: `batch ${index + 1} of ${planned.batches.length}` })
      await switchBatch(run, left, failures, watch)
    }
    abortIfNeeded(run, failures)
    // Also when a control plane was killed in the middle of it: the others have not begun.
    if (
      index === 0 &&
      planned.canary &&
      planned.batches
        .slice(1)
        .flat()
        .every((name) => states.get(name) === 'staged')
    ) {
      const signal = AbortSignal.any([run.signal, failures.signal])
      // Once more: by now another control plane may hold it, after a reload of the balancer.
      await splitTraffic(run, batch, run.signal)
      // The canary's own judge concludes sooner, and names the canary.
      if (run.users) run.users.onWorse = null
      const doubt = await run.timed('bake', () => judgeCanary(run, batch, planned.canary!, signal))
      guardUsers(run, failures)
      abortIfNeeded(run, failures)
      if (doubt !== null)
        await run.timed('wait', () => passGate(run, 1, { reason: 'inconclusive', text: doubt }, signal))
      abortIfNeeded(run, failures)
    }
    if (left.length === 0) continue
    if (planned.bakeBatch > 0 && index < planned.batches.length - 1)
      await run.timed('bake', () => bakeFor(run, failures, planned.bakeBatch))
  }
  await run.transition('baking', all ? { liveGroup: null } : {})
}

const gateWords = { canary: 'after the canary', group: 'after a group of servers', batch: 'after each batch' }

/** Waits for what lies before a batch: the bake time of a group, and a person. */
export async function gateBefore(run: Run, index: number, failures: Failures): Promise<void> {
  const gate = (run.row.plan!.gates ?? []).find(({ before }) => before === index)
  if (gate && gate.bake > 0) await run.timed('bake', () => bakeFor(run, failures, gate.bake))
  const why = gate?.person ? { reason: gate.after, text: `dploy.yml pauses ${gateWords[gate.after]}` } : null
  await run.timed('wait', () => passGate(run, index, why, AbortSignal.any([run.signal, failures.signal])))
  abortIfNeeded(run, failures)
}

/** Waits out the bake time; ends early, throwing, when a server fails meanwhile. */
export async function keepServing(run: Run, failures: Failures): Promise<void> {
  const { bake } = run.row.plan!
  await holdIdle(run)
  if (bake > 0) await run.timed('bake', () => bakeFor(run, failures, bake))
  abortIfNeeded(run, failures)
  run.out = await leftOutOfTraffic(run)
  for (const name of run.out)
    run.note(run.server(name), `it is out of traffic at the end. To bring it in: dploy server ready ${name}`)
  await run.transition('succeeded')
}

/** What one server does: out of traffic, new release, back into traffic. Throws where it stops; the server then stays drained. What it did until then stands in `spans`. Without `registers` it stays out of traffic. */
export async function activateServer(
  run: Run,
  server: EnvironmentServer,
  release: Release,
  signal: AbortSignal,
  states: { draining: StepState; activating: StepState; registering: StepState },
  spans: Span[] = [],
  registers = true,
): Promise<Span[]> {
  const timed = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const start = run.elapsed()
    try {
      return await work()
    } finally {
      spans.push({ name, start, end: run.elapsed() })
    }
  }
  const { timeouts } = run.environment
  const { drains } = run.balancer.capabilities
  const warm = run.row.plan?.warm === true
  // Who was out by another hand gets nothing, and is left as it was found.
  const leftOut = run.row.plan?.leftOut?.includes(server.name) === true
  if (drains && !warm && !leftOut) {
    await run.step(server, states.draining)
    const busy = { start: -1, end: -1 }
    const onProgress = (inFlight: number | null) => {
      if (inFlight !== 0 && busy.start < 0) busy.start = run.elapsed()
      if (busy.start >= 0) busy.end = run.elapsed()
    }
    const { inFlight } = await timed('drain', () =>
      run.balancer.drain(server.name, { timeout: timeouts.drain, signal, onProgress }),
    )
    if (busy.start >= 0) spans.push({ name: 'in_flight', ...busy })
    if (inFlight !== 0) run.cut.set(server.name, inFlight)
    if (inFlight === null)
      run.note(server, `the balancer still drains after ${formatDuration(timeouts.drain)}; requests in flight are cut`)
    else if (inFlight > 0)
      run.note(server, `${inFlight} requests still in flight after ${formatDuration(timeouts.drain)}; they are cut`)
  }
  await run.step(server, states.activating)
  void run.users?.serves(server.name, 'switching')
  const began = run.elapsed()
  const local = await run.localOf(server, release)
  const result = await timed('activate', () =>
    run.command(
      server,
      'activate',
      { release: release.spec, local, balancerSwitches: run.balancer.readdress !== undefined },
      { timeout: timeouts.activate, signal, id: `${run.id}:${run.fence}:activate:${release.number}:${server.id}` },
    ),
  )
  await run.store.sightings.add(run.row.environmentId, server.id, {
    seenAt: Date.now(),
    release: release.number,
    service: result.service,
  })
  for (const span of result.spans) spans.push({ name: span.name, start: began + span.start, end: began + span.end })
  const { port } = result
  if (port !== undefined && run.balancer.readdress)
    await timed('readdress', () => run.balancer.readdress!(server.name, port, signal))
  void run.users?.serves(server.name, release.id === run.release?.id ? 'new' : 'old')
  // Warm, it is in traffic all along, unless it was taken out because its release died.
  if (registers && drains && (!warm || states.registering === 'reverting')) {
    if (leftOut) {
      run.note(server, `it stays out of traffic, as it was found, until: dploy server ready ${server.name}`)
      return spans
    }
    if ((await run.store.servers.find(server.id))?.keptOut) {
      run.note(server, `it stays out of traffic until: dploy server ready ${server.name}`)
      return spans
    }
    await run.step(server, states.registering)
    await timed('register', () => run.balancer.register(server.name, { timeout: timeouts.register, signal }))
  }
  return spans
}

/** Step states in which there is nothing left to do for a server. */
const over: ReadonlySet<StepState> = new Set<StepState>(['switched', 'unchanged', 'quarantined', 'failed'])

/** All at the same time; fewer, where too few would be left in traffic. Throws `environment.too_few_healthy`, `environment.last_serving`. */
async function switchBatch(
  run: Run,
  servers: readonly EnvironmentServer[],
  failures: Failures,
  watch: Watch,
): Promise<void> {
  for (let left = [...servers]; left.length > 0;) {
    const failed = failures.names
    const room = spare(run, failed.length)
    if (room < 1) throw tooFewLeft(run, failed)
    const names = left.slice(0, room).map(({ name }) => name)
    const signal = AbortSignal.any([run.signal, failures.signal])
    const leaving = await mayLeave(run, names, signal).catch((error: unknown) => {
      abortIfNeeded(run, failures)
      throw error
    })
    const together = left.filter(({ name }) => leaving.includes(name))
    await Promise.all(together.map((server) => switchServer(run, server, failures, watch)))
    abortIfNeeded(run, failures)
    left = left.filter((server) => !together.includes(server))
  }
}

async function switchServer(run: Run, server: EnvironmentServer, failures: Failures, watch: Watch): Promise<void> {
  const signal = AbortSignal.any([run.signal, failures.signal])
  const spans: Span[] = []
  try {
    await activateServer(
      run,
      server,
      run.release!,
      signal,
      { draining: 'draining', activating: 'activating', registering: 'registering' },
      spans,
    )
    await run.step(server, 'switched', { spans })
    watch.start(server, run.release!)
  } catch (error) {
    run.signal.throwIfAborted()
    if (failures.signal.aborted) return
    failures.add(server, error)
    await run.step(server, 'quarantined', { failure: reportOf(error, server.name), spans })
  }
}

/** What cannot be reached must not serve the old release beside the new one. */
async function drainUnreachable(run: Run, names: readonly string[]): Promise<void> {
  await Promise.all(names.map((name) => run.balancer.drain(name, { timeout: 0, signal: run.signal })))
}

async function bakeFor(run: Run, failures: Failures, duration: number): Promise<void> {
  try {
    await delay(duration, undefined, { signal: AbortSignal.any([run.signal, failures.signal]) })
  } catch {
    abortIfNeeded(run, failures)
  }
}

export function abortIfNeeded(run: Run, failures: Failures): void {
  run.signal.throwIfAborted()
  failures.signal.throwIfAborted()
}
