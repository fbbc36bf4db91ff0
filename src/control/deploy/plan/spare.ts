import { DployError } from '../../../protocol/errors.ts'
import { healthyAtLeast } from './plan.ts'
import type { Run } from '../run/run.ts'

/**
 * How many servers may leave the traffic at the same time now, given how many are out of it by failure (`out`): what the plan
 * reckoned with is another number once a server has failed. Infinite where nothing leaves the traffic, or all do on purpose.
 */
export function spare(run: Run, out: number): number {
  const { strategy } = run.environment
  const planned = run.row.plan!
  if (planned.warm === true || strategy.kind === 'all-at-once' || run.from === null || run.row.kind === 'converge')
    return Infinity
  const least = healthyAtLeast({ strategy, servers: run.servers.map(({ name }) => name) })
  return least === 0 ? Infinity : run.servers.length - planned.unreachable.length - out - least
}

/** What a deployment ends with that cannot go on without having too few servers in traffic. */
export function tooFewLeft(run: Run, failed: readonly string[]): DployError {
  return new DployError(
    'environment.too_few_healthy',
    `${failed.join(', ')} failed, and with one more out of traffic fewer servers would be left than strategy.min_healthy keeps (${run.environment.strategy.min_healthy})`,
    { where: failed.join(', ') },
  )
}
