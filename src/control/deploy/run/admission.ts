import { setTimeout as delay } from 'node:timers/promises'
import type { Balancer, ServerTraffic } from '../../../balancers/contract.ts'
import type { StepState, TrafficState } from '../../../protocol/deployment.ts'
import { DployError } from '../../../protocol/errors.ts'
import { healthyAtLeast, lastServingError, mayAllLeave } from '../plan/plan.ts'
import type { Run } from './run.ts'

/** Between two looks at the balancer while a server is waited for. Milliseconds. */
const lookEvery = 250

/** In these states of its last step a server may be out of traffic by dploy's own doing. */
const ownDoing: ReadonlySet<StepState> = new Set<StepState>([
  'draining',
  'activating',
  'registering',
  'failed',
  'quarantined',
  'reverting',
  'unreachable',
])

/** What a balancer's answer means for users. Null: it does not check, so that nobody knows whether the server answers. */
export function trafficState(seen: ServerTraffic): TrafficState | null {
  if (seen.admission !== 'ready') return 'out'
  if (!seen.up) return 'down'
  return seen.check === null ? null : 'serving'
}

/** What the balancer says of all servers of the deployment, by name; empty where there is none that can keep servers out. */
export async function askBalancer(
  balancer: Balancer,
  servers: readonly string[],
  signal: AbortSignal,
): Promise<Map<string, ServerTraffic>> {
  if (!balancer.capabilities.drains) return new Map()
  return new Map((await balancer.read(servers, signal)).map((seen) => [seen.server, seen]))
}

/**
 * Servers that are out of traffic and stay out: `byHand`, those that dploy did not take out, but a person at the balancer or
 * another program; `kept`, those of `dploy server drain`.
 */
export async function whoStaysOut(
  run: Run,
  traffic: ReadonlyMap<string, ServerTraffic>,
): Promise<{ byHand: string[]; kept: string[] }> {
  const out = run.servers.filter(({ name }) => {
    const seen = traffic.get(name)
    return seen !== undefined && seen.admission !== 'ready'
  })
  // Groups that take turns are in and out of traffic by dploy's own doing.
  if (out.length === 0 || run.liveGroup !== null || run.environment.strategy.kind === 'blue-green')
    return { byHand: [], kept: [] }
  const last = await run.store.steps.last(
    run.row.environmentId,
    out.map(({ id }) => id),
    run.id,
  )
  const keptOut = await run.store.servers.keptOut()
  const kept = out.filter(({ id }) => keptOut.has(id))
  const byHand = out.filter(({ id }) => {
    const state = last.get(id)
    // Before its first deployment dploy took it out of nothing; but it may be in nothing yet.
    if (state === undefined) return !keptOut.has(id) && run.balancer.capabilities.absentIsOut !== true
    return !keptOut.has(id) && !ownDoing.has(state)
  })
  return { byHand: byHand.map(({ name }) => name), kept: kept.map(({ name }) => name) }
}

/** Servers of the deployment that get no traffic at its end, whoever took them out; groups that take turns aside. */
export async function leftOutOfTraffic(run: Run): Promise<string[]> {
  const { batches, unchanged, groups } = run.row.plan!
  if (groups || !run.balancer.capabilities.drains) return []
  try {
    const traffic = await askBalancer(run.balancer, [...batches.flat(), ...unchanged], run.signal)
    return [...traffic.values()].flatMap(({ server, admission }) => (admission === 'ready' ? [] : [server]))
  } catch {
    // What cannot be asked now is no failure of a deployment whose servers all serve.
    return []
  }
}

/**
 * How many of these servers may leave the traffic now, by what the balancer says at this moment: never so many that fewer than
 * `min_healthy` serve, nor the last one. Servers that do not serve come first, and cost nothing. Waits for others to come up, as
 * long as `timeouts.register`. Throws `environment.last_serving`.
 */
export async function mayLeave(run: Run, batch: readonly string[], signal: AbortSignal): Promise<string[]> {
  const planned = run.row.plan!
  const { strategy, timeouts } = run.environment
  const servers = run.servers.map(({ name }) => name)
  const all = (await run.store.applications.servers(run.row.environmentId)).map(({ name }) => name)
  if (
    !run.balancer.capabilities.drains ||
    planned.warm === true ||
    mayAllLeave({ strategy, servers: all }, planned.batches)
  )
    return [...batch]
  const least = Math.max(1, run.row.kind === 'converge' ? 1 : healthyAtLeast({ strategy, servers }))
  const deadline = performance.now() + timeouts.register
  for (let told = ''; ; await delay(lookEvery, undefined, { signal })) {
    const traffic = await askBalancer(run.balancer, all, signal)
    // A balancer that does not check cannot tell: then only its admission counts.
    const serves = (name: string) => {
      const seen = traffic.get(name)
      return seen === undefined ? !planned.unreachable.includes(name) : seen.admission === 'ready' && seen.up
    }
    const idle = batch.filter((name) => !serves(name))
    const serving = batch.filter(serves)
    const room = all.filter(serves).length - least
    if (room >= serving.length) return [...batch]
    if (room > 0 || idle.length > 0) return [...idle, ...serving.slice(0, Math.max(0, room))]
    const others = all.filter((name) => !batch.includes(name))
    const states = Object.fromEntries(
      others.map((name) => [
        name,
        traffic.get(name) === undefined ? undefined : (trafficState(traffic.get(name)!) ?? undefined),
      ]),
    )
    const down = others.filter((name) => !serves(name))
    const error =
      least > 1 && all.filter(serves).length > 1
        ? new DployError(
            'environment.too_few_healthy',
            `strategy.min_healthy keeps ${least} servers in traffic, and ${all.filter(serves).length} serve: ${down.join(', ')} ${down.length === 1 ? 'does' : 'do'} not, says the balancer`,
            { where: down.join(', ') },
          )
        : lastServingError(serving[0]!, down, states)
    if (performance.now() >= deadline) throw error
    if (told !== error.message) run.note(null, `waiting: ${error.message}`)
    told = error.message
  }
}
