import { setTimeout as delay } from 'node:timers/promises'
import type { ServerCounters } from '../../../balancers/contract.ts'
import type { Plan } from '../../../protocol/deployment.ts'
import { DployError } from '../../../protocol/errors.ts'
import { Judge } from '../../judging/judge.ts'
import { together } from '../../judging/queries.ts'
import type { Interval } from '../../judging/failures.ts'
import { AnswerTimes } from '../plan/answer-times.ts'
import { QueryWatch } from './query-watch.ts'
import type { Run } from '../run/run.ts'

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
/** Answer times of its first tenth, and of no more than this, are left out: a release that was just started is slower for a while. Milliseconds. */
const warmUp = 10_000

const uncounted = { outcome: 'inconclusive' as const, reason: 'the balancer does not count by server' }

/**
 * Compares what the servers of the canary answer with what the others do, by the balancer's counters, until the time is up or
 * the new release has failed. Answers why a person has to be asked; null: it goes on. Throws `canary.failed`;
 * `canary.inconclusive` where the plan goes back for that.
 */
export async function judgeCanary(
  run: Run,
  canary: readonly string[],
  plan: NonNullable<Plan['canary']>,
  signal: AbortSignal,
): Promise<string | null> {
  const names = run.servers.map(({ name }) => name).filter((name) => !run.row.plan!.unreachable.includes(name))
  run.event(null, { kind: 'progress', phase: `judging ${canary.join(', ')}` })
  const judge = new Judge()
  await using log = await AnswerTimes.start(run, names, canary)
  await using queries = watchQueries(run, names, canary)
  const began = performance.now()
  const end = began + plan.duration
  const warm = began + Math.min(warmUp, plan.duration / 10)
  let half: boolean = false
  let before = await counters(run, names, signal)
  while (performance.now() < end) {
    await delay(Math.min(lookEvery, end - performance.now()), undefined, { signal }).catch(() => {})
    if (signal.aborted) return null
    const now = await counters(run, names, signal)
    const times = log.take()
    judge.add(between(before, now, new Set(canary)), performance.now() < warm ? undefined : times)
    before = now
    const atHalf = !half && performance.now() >= began + plan.duration / 2
    if (atHalf) half = true
    const judgement = judge.now(atHalf ? 'half' : 'under way')
    const failure = judgement.outcome === 'fail' ? judgement.reason : (queries?.failure ?? null)
    if (failure !== null) throw new DployError('canary.failed', failure, { where: canary.join(', ') })
  }
  const { outcome, reason: said } = together(
    run.balancer.serverCounters ? judge.now('end') : uncounted,
    queries?.judge() ?? null,
  )
  if (outcome === 'fail') throw new DployError('canary.failed', said, { where: canary.join(', ') })
  if (log.silent)
    run.note(null, 'the log of the balancer told of no request: its format has to be that of "option httplog"')
  if (outcome === 'inconclusive' && plan.inconclusive === 'roll_back')
    throw new DployError('canary.inconclusive', said, { where: canary.join(', ') })
  run.note(null, `${outcome}: ${said}`)
  return outcome === 'inconclusive' && plan.inconclusive === 'ask' ? `the canary is inconclusive: ${said}` : null
}

function watchQueries(run: Run, names: readonly string[], canary: readonly string[]): QueryWatch | null {
  const { prometheus } = run.environment.strategy
  if (prometheus === undefined) return null
  const servers = (side: (name: string) => boolean) => names.filter(side).map((name) => run.server(name))
  return new QueryWatch(prometheus, {
    new: servers((name) => canary.includes(name)),
    old: servers((name) => !canary.includes(name)),
  })
}

async function counters(run: Run, names: readonly string[], signal: AbortSignal): Promise<Map<string, ServerCounters>> {
  return (await run.balancer.serverCounters?.(names, signal)) ?? new Map()
}

/** What came between two looks. A balancer that was started anew counts from zero: its interval is left out. */
function between(
  before: ReadonlyMap<string, ServerCounters>,
  now: ReadonlyMap<string, ServerCounters>,
  canary: ReadonlySet<string>,
): Interval {
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
