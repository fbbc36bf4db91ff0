import type { DeploymentState } from '../../protocol/deployment.ts'
import type { PhaseName, Receipt } from '../../protocol/receipt.ts'

/** The phase that a deployment is in while it has this state; null: none (it waits, or it is over). */
export const phaseOfState = {
  waiting_for_approval: null,
  queued: null,
  resolving: 'resolve',
  building: 'build',
  staging: 'stage',
  committing: 'commit',
  activating: 'activate',
  baking: 'bake',
  rolling_back: 'roll_back',
  succeeded: null,
  rolled_back: null,
  failed: null,
  cancelled: null,
} as const satisfies Record<DeploymentState, PhaseName | null>

/**
 * The phases of a deployment out of the transitions that were stored. `at` and the bounds are epoch milliseconds; the
 * phases' times are relative to `startedAt`.
 */
export function phasesOf(
  transitions: readonly { state: DeploymentState; at: number }[],
  startedAt: number,
  finishedAt: number,
): Receipt['phases'] {
  return transitions.flatMap(({ state, at }, index) => {
    const name = phaseOfState[state]
    const end = transitions[index + 1]?.at ?? finishedAt
    return name === null ? [] : [{ name, start: Math.max(0, at - startedAt), end: Math.max(0, end - startedAt) }]
  })
}
