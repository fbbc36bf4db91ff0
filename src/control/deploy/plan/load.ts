import { setTimeout as delay } from 'node:timers/promises'
import type { Balancer, ServerCounters } from '../../../balancers/contract.ts'
import type { EnvironmentConfig } from '../../../protocol/config/config.ts'

/** Between two looks at the balancer's counters: long enough for a rate, short enough to wait for. Milliseconds. */
const window = 500

/**
 * Requests a second that all servers answer together now, by the balancer's own counts; asked only where batches are made for it
 * (`batch: auto`). Null: the balancer does not count by server.
 */
export async function loadNow(
  balancer: Balancer,
  strategy: EnvironmentConfig['strategy'],
  servers: readonly string[],
  signal: AbortSignal,
): Promise<number | null> {
  if (strategy.batch !== 'auto' || !balancer.serverCounters) return null
  const before = await balancer.serverCounters(servers, signal)
  const began = performance.now()
  await delay(window, undefined, { signal })
  const after = await balancer.serverCounters(servers, signal)
  const total = (counters: ReadonlyMap<string, ServerCounters>) =>
    [...counters.values()].reduce((sum, { requests }) => sum + requests, 0)
  // A balancer that was started again in between counts from zero.
  return (Math.max(0, total(after) - total(before)) * 1000) / (performance.now() - began)
}
