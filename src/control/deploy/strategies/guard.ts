import { DployError } from '../../../protocol/errors.ts'
import type { Failures } from '../run/failures.ts'
import type { Run } from '../run/run.ts'

/**
 * Rolls the release back when users get clearly more errors from it than from the one before, by any strategy
 * (`strategy.guard`). Where the balancer does not count by server nobody guards: the plan says so.
 */
export function guardUsers(run: Run, failures: Failures): void {
  const { guard } = run.environment.strategy
  // Who goes back to a release, or brings a server to it, has chosen that release.
  if (run.users === null || run.row.kind !== 'deploy' || guard === 'off') return
  run.users.onWorse = (reason) => {
    if (guard === 'warn') return run.note(null, `guard: ${reason}`)
    failures.stop(new DployError('guard.worse', reason))
  }
}
