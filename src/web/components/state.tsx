import type { ReactNode } from 'react'
import type { DeploymentState, StepState } from '../../protocol/deployment.ts'

export type Tone = 'good' | 'warn' | 'bad' | 'busy' | 'idle'

/** A state: in words, with a colour and a shape that say the same. */
export function State({ tone, children }: { tone: Tone; children: ReactNode }) {
  return <span className={`state ${tone}`}>{children}</span>
}

const deploymentStates: Record<DeploymentState, { tone: Tone; text: string }> = {
  waiting_for_approval: { tone: 'busy', text: 'waits for approval' },
  queued: { tone: 'busy', text: 'queued' },
  resolving: { tone: 'busy', text: 'resolving' },
  building: { tone: 'busy', text: 'building' },
  staging: { tone: 'busy', text: 'staging' },
  committing: { tone: 'busy', text: 'committing' },
  activating: { tone: 'busy', text: 'activating' },
  baking: { tone: 'busy', text: 'baking' },
  succeeded: { tone: 'good', text: 'succeeded' },
  rolling_back: { tone: 'warn', text: 'rolling back' },
  rolled_back: { tone: 'warn', text: 'rolled back' },
  failed: { tone: 'bad', text: 'failed' },
  cancelled: { tone: 'idle', text: 'cancelled' },
}

export function deploymentTone(state: string): { tone: Tone; text: string } {
  return deploymentStates[state as DeploymentState] ?? { tone: 'busy', text: state.replaceAll('_', ' ') }
}

export function DeploymentStateBadge({ state }: { state: string }) {
  const { tone, text } = deploymentTone(state)
  return <State tone={tone}>{text}</State>
}

export const stepTones: Record<StepState, { tone: Tone; text: string }> = {
  pending: { tone: 'idle', text: 'waiting' },
  staging: { tone: 'busy', text: 'staging' },
  staged: { tone: 'idle', text: 'staged' },
  draining: { tone: 'warn', text: 'draining' },
  activating: { tone: 'busy', text: 'activating' },
  registering: { tone: 'busy', text: 'registering' },
  switched: { tone: 'good', text: 'switched' },
  reverting: { tone: 'warn', text: 'reverting' },
  reverted: { tone: 'warn', text: 'reverted' },
  failed: { tone: 'bad', text: 'failed' },
  quarantined: { tone: 'bad', text: 'quarantined' },
  unreachable: { tone: 'bad', text: 'unreachable' },
  unchanged: { tone: 'good', text: 'unchanged' },
}

const finals: readonly string[] = ['succeeded', 'failed', 'rolled_back', 'cancelled']
export function isOver(state: string): boolean {
  return finals.includes(state)
}
