import { DployError } from '../../../protocol/errors.ts'
import type { DeploymentState, StepState } from '../../../protocol/deployment.ts'

/**
 * Which state of a deployment may follow which. Up to `committing` no server has changed, so that a failure there ends
 * in `failed` at once; from `activating` on, what was switched is switched back first.
 */
export const deploymentTransitions = {
  waiting_for_approval: ['queued', 'cancelled', 'failed'],
  queued: ['resolving', 'staging', 'failed', 'cancelled'],
  resolving: ['building', 'failed', 'cancelled'],
  building: ['staging', 'failed', 'cancelled'],
  staging: ['committing', 'failed', 'cancelled'],
  committing: ['activating', 'failed', 'cancelled'],
  activating: ['baking', 'rolling_back', 'failed'],
  baking: ['succeeded', 'rolling_back', 'failed'],
  rolling_back: ['rolled_back', 'failed'],
  succeeded: [],
  rolled_back: [],
  failed: [],
  cancelled: [],
} as const satisfies Record<DeploymentState, readonly DeploymentState[]>

/** Which state of a step may follow which. A recovered deployment may repeat what was under way. */
export const stepTransitions = {
  pending: ['staging', 'unchanged', 'unreachable', 'failed', 'reverting', 'quarantined'],
  staging: ['staging', 'staged', 'failed', 'unreachable'],
  staged: ['staging', 'draining', 'activating', 'unchanged', 'failed', 'quarantined', 'reverting'],
  draining: ['draining', 'activating', 'failed', 'quarantined', 'reverting'],
  activating: ['draining', 'activating', 'registering', 'switched', 'failed', 'quarantined', 'reverting'],
  registering: ['draining', 'registering', 'switched', 'failed', 'quarantined', 'reverting'],
  switched: ['reverting', 'failed', 'quarantined'],
  reverting: ['reverting', 'reverted', 'failed', 'quarantined'],
  reverted: [],
  failed: ['reverting', 'quarantined'],
  quarantined: ['reverting', 'quarantined'],
  unreachable: ['staging', 'quarantined', 'reverting'],
  unchanged: ['reverting'],
} as const satisfies Record<StepState, readonly StepState[]>

/** Throws `deployment.conflict` unless `to` may follow `from`. */
export function checkTransition(from: DeploymentState, to: DeploymentState): void {
  const allowed: readonly DeploymentState[] = deploymentTransitions[from]
  if (!allowed.includes(to))
    throw new DployError('deployment.conflict', `A deployment that is ${from} cannot become ${to}`)
}

/** Whether a deployment in this state is over. */
export function isFinal(state: DeploymentState): boolean {
  return deploymentTransitions[state].length === 0
}

/** Whether servers may have been switched in this state, so that stopping means switching back. */
export function isCommitted(state: DeploymentState): boolean {
  return state === 'activating' || state === 'baking' || state === 'rolling_back'
}

/** Every state a deployment is in while it runs. */
export const runningStates = (Object.keys(deploymentTransitions) as DeploymentState[]).filter(
  (state) => !isFinal(state),
)
