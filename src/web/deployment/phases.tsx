import type { DeploymentState, Plan, StepState } from '../../protocol/deployment.ts'
import { Icon } from '../components/icon.tsx'
import { isOver } from '../components/state.tsx'
import { duration, Elapsed } from '../components/time.tsx'
import type { LiveDeployment } from './live-deployment.ts'
import { useWatched } from './use-live.ts'

interface Phase {
  state: DeploymentState
  title: string
  /** How far it is: `16 of 32`. */
  count?: string
}

/** What all servers do together, in order: done, going on, still to come. */
export function Phases({ live }: { live: LiveDeployment }) {
  useWatched(live.parts.head)
  useWatched(live.parts.servers)
  const reached = live.phases.map(({ state }) => state)
  const phases = phasesOf(live).filter(({ state }) => !isOver(live.state ?? '') || reached.includes(state))
  const failed = failedPhase(live)
  return (
    <ol className="phases" aria-label="Phases">
      {phases.map(({ state, title, count }) => {
        const index = live.phases.findLastIndex((phase) => phase.state === state)
        const begin = live.phases[index]?.at ?? null
        const end = live.phases[index + 1]?.at ?? live.ended
        const status = begin === null ? 'next' : end === null ? 'now' : index === failed ? 'bad' : 'done'
        return (
          <li key={state} className={`phase ${status}`} aria-current={status === 'now' ? 'step' : undefined}>
            <span className="phase-sign">
              {status === 'done' ? (
                <Icon name="check" size={14} />
              ) : status === 'bad' ? (
                <Icon name="close" size={14} />
              ) : null}
            </span>
            <span>{title}</span>
            {count && status !== 'next' ? <span className="number muted">{count}</span> : null}
            <span className="phase-time number">
              {begin === null ? null : end === null ? <Elapsed begin={begin} end={null} /> : duration(end - begin)}
            </span>
            <span className="hidden">{{ next: 'to come', now: 'going on', done: 'done', bad: 'failed' }[status]}</span>
          </li>
        )
      })}
    </ol>
  )
}

/** Which of the phases went wrong: the one before the way back, and the way back too where it did not arrive; -1: none. */
function failedPhase({ phases, state, failure }: LiveDeployment): number {
  if (failure === null || state === 'succeeded') return -1
  const back = phases.findIndex((phase) => phase.state === 'rolling_back')
  if (back < 0) return phases.length - 2
  return state === 'failed' ? back : back - 1
}

function phasesOf(live: LiveDeployment): Phase[] {
  const { plan } = live
  const { batched } = live.servers
  const count = (state: StepState) => batched.get(state) ?? 0
  const servers = [...batched.values()].reduce((sum, one) => sum + one, 0)
  const staged = servers - count('pending') - count('staging')
  const switched = count('switched')
  const reverted = count('reverted')
  const phases: Phase[] = [
    // A release that is there already is neither looked up nor built.
    ...(plan === null || plan.kind === 'deploy'
      ? [
          { state: 'resolving' as const, title: 'resolve' },
          { state: 'building' as const, title: 'build' },
        ]
      : []),
    { state: 'staging', title: 'stage', ...counted(staged, plan, servers) },
    { state: 'committing', title: plan?.releaseCommand ? 'release command' : 'commit' },
    { state: 'activating', title: 'activate', ...counted(switched, plan, servers) },
    { state: 'baking', title: 'bake' },
  ]
  if (live.phases.some(({ state }) => state === 'rolling_back'))
    phases.push({ state: 'rolling_back', title: 'roll back', ...counted(reverted, plan, servers) })
  return phases
}

function counted(done: number, plan: Plan | null, all: number): { count?: string } {
  return plan === null || all === 0 ? {} : { count: `${done}/${all}` }
}
