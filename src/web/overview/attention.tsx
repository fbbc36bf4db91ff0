import { useMutation, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate } from 'react-router'
import type { EnvironmentSummary } from '../../protocol/api/environments.ts'
import { useMay } from '../api/rights.ts'
import { client } from '../api/session.ts'
import { Confirm } from '../components/confirm.tsx'
import { State } from '../components/state.tsx'
import { Ago } from '../components/time.tsx'
import { sayProblem, toasts } from '../components/toasts.tsx'

/** What in an environment waits for a person: approvals, a deployment that waits in the middle, a lock that somebody holds. */
export function Attention({ summary, running }: { summary: EnvironmentSummary; running: boolean }) {
  const { awaiting, waiting, lock } = summary
  if (awaiting.length === 0 && waiting === null && lock === null) return null
  return (
    <ul className="stack attention">
      {awaiting.map((one) => (
        <li key={one.number} className="row wrap">
          <State tone="warn">waits for approval</State>
          <Link to={`/deployments/${one.number}`}>
            deployment {one.number}
            {one.revision ? `: ${one.revision.subject}` : ''}
          </Link>
          <span className="muted">
            asked for by {one.requestedBy} <Ago at={one.createdAt} />
          </span>
        </li>
      ))}
      {waiting && lock ? (
        <li className="row wrap">
          <State tone="warn">{waiting.text}</State>
          <Link to={`/deployments/${lock.number}`}>deployment {lock.number}</Link>
          <span className="muted">
            since <Ago at={waiting.since} />
          </span>
        </li>
      ) : null}
      {lock ? (
        <li className="row wrap">
          <span className="muted">
            {running ? (
              'locked'
            ) : (
              <>
                locked by <Link to={`/deployments/${lock.number}`}>deployment {lock.number}</Link>
              </>
            )}{' '}
            by {lock.requestedBy} since <Ago at={lock.since} />
          </span>
          {running ? null : <Unlock summary={summary} lock={lock} />}
        </li>
      ) : null}
    </ul>
  )
}

export function Unlock({
  summary,
  lock,
}: {
  summary: EnvironmentSummary
  lock: NonNullable<EnvironmentSummary['lock']>
}) {
  const { application, environment } = summary
  const may = useMay('deploy', summary)
  const queryClient = useQueryClient()
  const unlock = useMutation({
    mutationFn: () => client().call('unlock', { params: { application, environment } }),
    onError: sayProblem,
    onSettled: () => queryClient.invalidateQueries(),
  })
  if (!may) return null
  return (
    <Confirm
      trigger={
        <button type="button" className="button small quiet" aria-label={`Unlock ${environment}`}>
          Unlock…
        </button>
      }
      title={`Open the lock of ${environment} by force?`}
      action="Open the lock"
      danger
      command={`dploy unlock ${environment}`}
      onConfirm={() => unlock.mutate()}
    >
      <p>
        Deployment {lock.number} by {lock.requestedBy} holds it. It ends where it stands, and whoever runs it is refused
        from then on. To stop it in order, cancel it on its page instead.
      </p>
      <p>A lock whose holder was killed opens by itself within 15 seconds.</p>
    </Confirm>
  )
}

/** Brings servers that run something else to what they should run. */
export function Converge({
  summary,
  drifted,
  count,
}: {
  summary: EnvironmentSummary
  /** Some of them by name, and how many there are. */
  drifted: readonly { name: string; release: number | null }[]
  count: number
}) {
  const { application, environment, wanted } = summary
  const may = useMay('deploy', summary)
  const navigate = useNavigate()
  const converge = useMutation({
    mutationFn: () => client().call('converge', { params: { application, environment }, body: {} }),
    onSuccess: ({ deployment }) =>
      deployment === null
        ? void toasts.add({ title: 'Every connected server runs what it should' })
        : void navigate(`/deployments/${deployment}`),
    onError: sayProblem,
  })
  if (!may || summary.lock !== null || wanted === null) return null
  return (
    <Confirm
      trigger={
        <button type="button" className="button small" disabled={converge.isPending}>
          Converge…
        </button>
      }
      title={`Bring ${count === 1 ? drifted[0]!.name : `${count} servers`} to release ${wanted.release}?`}
      action="Converge"
      command={`dploy converge ${environment}`}
      onConfirm={() => converge.mutate()}
    >
      <ul>
        {drifted.slice(0, 10).map((server) => (
          <li key={server.name}>
            {server.name} runs {server.release === null ? 'nothing' : `release ${server.release}`}
          </li>
        ))}
      </ul>
      <p>Each is taken out of traffic while it switches. The others stay as they are.</p>
    </Confirm>
  )
}
