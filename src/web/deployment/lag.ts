import type { DeploymentEvent } from '../../protocol/deployment.ts'

/**
 * Measures how long after it was stored an event was taken in, for whoever observes it (PerformanceObserver, entries of
 * type `measure`, name `dploy event`). What was stored before the page asked is no news, and is left out.
 */
export function measureLag(event: DeploymentEvent, asked: number): void {
  if (event.stored === undefined || event.stored < asked) return
  const start = Math.max(0, event.stored - performance.timeOrigin)
  performance.measure('dploy event', { start, end: Math.max(start, performance.now()), detail: event.seq })
  // Observers have it already; nothing is kept of it.
  performance.clearMeasures('dploy event')
}
