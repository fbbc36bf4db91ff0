import { setTimeout as delay } from 'node:timers/promises'
import type { ServerCounters } from '../../balancers/contract.ts'
import type { Plan } from '../../protocol/deployment.ts'
import { DployError } from '../../protocol/errors.ts'
import { Judge } from '../judging/judge.ts'
import type { Interval } from '../judging/failures.ts'
import type { Run } from './run.ts'

/** Lets the canary have the share of the traffic that dploy.yml gives it, until `restoreTraffic`. */
export async function splitTraffic(run: Run, canary: readonly string[], signal: AbortSignal): Promise<void> {
  const share = run.row.plan!.canary?.traffic
  if (share == null) return
  await run.balancer.split!({ servers: canary, share }, signal)
}

/** Gives every server the share back that the balancer's own configuration gives it. */
export async function restoreTraffic(run: Run, signal: AbortSignal): Promise<void> {
  if (run.row.plan?.canary?.traffic != null) await run.balancer.split!(null, signal)
}

/** Between two looks at the balancer's counters. Milliseconds. */
const lookEvery = 1_000

/**
 * Compares what the servers of the canary answer with what the others do, by the balancer's counters, until the time is up or
 * the new release has failed. Answers why a person has to be asked; null: it goes on. Throws `canary.failed`;
 * `canary.inconclusive` where the plan goes back for that.
 */
export async function judgeCanary(run: Run, canary: readonly string[], plan: NonNullable<Plan['canary']>, signal: AbortSignal): Promise<string | null> {
  const names = run.servers.map(({ name }) => name).filter((name) => !run.row.plan!.unreachable.includes(name))
  run.event(null, { kind: 'progress', phase: `judging ${canary.join(', ')}` })
  const judge = new Judge()
  const end = performance.now() + plan.duration
  let before = await counters(run, names, signal)
  while (performance.now() < end) {
    await delay(Math.min(lookEvery, end - performance.now()), undefined, { signal }).catch(() => {})
    if (signal.aborted) return null
    if (!run.balancer.serverCounters) continue
    const now = await counters(run, names, signal)
    judge.add(between(before, now, new Set(canary)))
    before = now
    const judgement = judge.now('under way')
    if (judgement.outcome === 'fail') throw new DployError('canary.failed', judgement.reason, { where: canary.join(', ') })
  }
  const { outcome, reason } = judge.now('end')
  const said = run.balancer.serverCounters ? reason : 'the balancer does not count by server'
  if (outcome === 'inconclusive' && plan.inconclusive === 'roll_back') throw new DployError('canary.inconclusive', said, { where: canary.join(', ') })
  run.note(null, `${outcome}: ${said}`)
  return outcome === 'inconclusive' && plan.inconclusive === 'ask' ? `the canary is inconclusive: ${said}` : null
}

async function counters(run: Run, names: readonly string[], signal: AbortSignal): Promise<Map<string, ServerCounters>> {
  return (await run.balancer.serverCounters?.(names, signal)) ?? new Map()
}

/** What came between two looks. A balancer that was started anew counts from zero: its interval is left out. */
function between(before: ReadonlyMap<string, ServerCounters>, now: ReadonlyMap<string, ServerCounters>, canary: ReadonlySet<string>): Interval {
  const interval: Interval = { newRequests: 0, newFailed: 0, oldRequests: 0, oldFailed: 0 }
  for (const [name, counted] of now) {
    const former = before.get(name)
    if (!former || counted.requests < former.requests) continue
    const [requests, failed] = [counted.requests - former.requests, Math.max(0, counted.failed - former.failed)]
    if (canary.has(name)) {
      interval.newRequests += requests
      interval.newFailed += Math.min(failed, requests)
    } else {
      interval.oldRequests += requests
      interval.oldFailed += Math.min(failed, requests)
    }
  }
  return interval
}
