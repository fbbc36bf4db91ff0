import type { Pace } from '../contract.ts'
import type { PoolSettings } from './pool.ts'

/** Below this nobody needs to be told. Seconds per batch. */
const quick = 15
/** What AWS needs beside what is configured: until its nodes know of a change, and until dploy has seen it. Seconds. */
const notice = 5

/** What of the settings at AWS makes a deployment slow, or cuts requests; for people. Pure. */
export function adviceOf(pools: readonly { title: string; settings: PoolSettings }[], pace: Pace): string[] {
  const advice: string[] = []
  const slowest = pools
    .map((pool) => ({ ...pool, check: pool.settings.interval * pool.settings.answers }))
    .toSorted((a, b) => b.settings.delay + b.check - a.settings.delay - a.check)[0]
  if (slowest && pace.batches > 0) {
    const delay = Math.min(slowest.settings.delay, pace.drain / 1000)
    const each = delay + slowest.check
    if (each > quick) {
      const whole = each * pace.batches
      const parts = [
        { seconds: delay * pace.batches, what: 'is the deregistration delay' },
        {
          seconds: slowest.check * pace.batches,
          what: `is its health check (${slowest.settings.answers === 1 ? 'one answer' : `${slowest.settings.answers} answers`}, every ${slowest.settings.interval} s)`,
        },
      ].toSorted((a, b) => b.seconds - a.seconds)
      advice.push(
        `AWS may take ${whole} s of this deployment, ${pace.batches === 1 ? 'in one batch' : `${each} s in each of ${pace.batches} batches`}: ${parts[0]!.seconds} s of ${whole} s ${parts[0]!.what} of the ${slowest.title}`,
      )
    }
  }
  for (const { title, settings } of pools) {
    if (settings.delay === 0)
      advice.push(
        `The ${title} does not wait for requests in flight (deregistration delay 0 s): they are cut when a server is taken out`,
      )
    if (settings.delay * 1000 > pace.drain)
      advice.push(
        `The deregistration delay of the ${title} is ${settings.delay} s, and timeouts.drain is ${pace.drain / 1000} s: requests that last longer are cut; lower the one or raise the other`,
      )
    const check = settings.interval * settings.answers + notice
    if (check * 1000 > pace.register)
      advice.push(
        `The ${title} may take ${check} s to call a server healthy (its health check comes every ${settings.interval} s), and timeouts.register is ${pace.register / 1000} s: raise it, or lower the interval`,
      )
    if (settings.slowStart > 0)
      advice.push(
        `The ${title} lets traffic of a registered server grow for ${settings.slowStart} s (slow start): the next batch does not wait for that`,
      )
  }
  return advice
}
