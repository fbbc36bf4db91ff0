import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import type { DeploymentSummary, Waiting } from '../../protocol/deployment.ts'
import { queries } from '../api/queries.ts'
import { useMay, useWho } from '../api/rights.ts'
import { client } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Confirm } from '../components/confirm.tsx'
import { Skeleton } from '../components/empty.tsx'
import { RevisionLine } from '../components/revision.tsx'
import { State } from '../components/state.tsx'
import { Ago, ago, useNow } from '../components/time.tsx'
import { sayProblem } from '../components/toasts.tsx'
import { Changes } from '../deploy/changes.tsx'
import { PlanWords } from '../deploy/plan-words.tsx'
import { Preflight } from '../deploy/preflight.tsx'
import '../deploy/deploy.css'
import './decision.css'

/** What a deployment waits for from a person, with the buttons that answer; and what was answered. `waiting` is of the events: it comes and goes while the state stays the same. */
export function Decision({
  deployment,
  state,
  waiting,
}: {
  deployment: DeploymentSummary
  state: string
  waiting: Waiting | null
}) {
  const { approval } = deployment
  return (
    <>
      {approval && state === 'waiting_for_approval' ? <Asked deployment={deployment} /> : null}
      {approval && approval.by !== null && approval.at !== null ? (
        <p className="muted">
          {approval.decision === 'approve' ? 'Approved' : 'Refused'} by {approval.by} <Ago at={approval.at} />
          {approval.note ? `: ${approval.note}` : ''}
        </p>
      ) : null}
      {waiting && ['activating', 'baking'].includes(state) ? (
        <Gate key={waiting.since} deployment={deployment} waiting={waiting} />
      ) : null}
    </>
  )
}

function Asked({ deployment }: { deployment: DeploymentSummary }) {
  const { number, application, environment, requestedBy } = deployment
  const may = useMay('deploy', { application, environment })
  const who = useWho()
  const [note, setNote] = useState('')
  const queryClient = useQueryClient()
  const decide = useMutation({
    mutationFn: (decision: 'approve' | 'refuse') =>
      client().call('decide', { params: { number }, body: { decision, note: note.trim() } }),
    onError: sayProblem,
    onSettled: () => queryClient.invalidateQueries(),
  })
  // Names are no proof: two people may have the same, and a token has one of its own.
  const own = who !== null && who.person !== null && who.person === deployment.approval!.requester
  return (
    <section className="card decision" aria-label="Approval">
      <div className="grow stack">
        <State tone="warn">
          {application} → {environment} is protected: another person has to approve this
        </State>
        <RevisionLine revision={deployment.revision} />
        <Asks deployment={deployment} />
        <p className="muted">
          Asked for by {requestedBy} <Ago at={deployment.createdAt} />; it ends by itself{' '}
          {in_(deployment.approval!.expiresAt, useNow(5_000))}.
        </p>
        {own ? <p>You asked for it. Send this page’s address to somebody who may deploy here.</p> : null}
        <CommandLine command={`dploy approve ${number}`} />
      </div>
      {may && !own ? (
        <div className="stack">
          <div className="field">
            <label htmlFor="note">Note</label>
            <input
              id="note"
              className="input"
              maxLength={1_000}
              value={note}
              onChange={(event) => setNote(event.target.value)}
            />
          </div>
          <div className="row">
            <button
              type="button"
              className="button primary"
              disabled={decide.isPending}
              onClick={() => decide.mutate('approve')}
            >
              Approve
            </button>
            <button
              type="button"
              className="button"
              disabled={decide.isPending}
              onClick={() => decide.mutate('refuse')}
            >
              Refuse
            </button>
          </div>
        </div>
      ) : null}
    </section>
  )
}

/** What whoever decides has to know, as the page on which it was asked for shows it: commits, files, plan, checks. */
function Asks({ deployment }: { deployment: DeploymentSummary }) {
  const { application, environment, revision, kind } = deployment
  const commit = revision?.commit ?? null
  const { data, error } = useQuery({
    ...queries.plan(application, environment, commit ?? undefined),
    enabled: kind === 'deploy' && commit !== null,
  })
  if (kind !== 'deploy' || commit === null) return null
  if (error) return <p className="muted">What it changes could not be asked: {error.message}</p>
  if (!data) return <Skeleton lines={3} />
  return (
    <div className="stack">
      <h2>Changes</h2>
      <Changes application={application} environment={environment} preview={data} />
      <h2>Plan</h2>
      <PlanWords preview={data} />
      <h2>Before</h2>
      <Preflight application={application} environment={environment} preview={data} />
    </div>
  )
}

function Gate({ deployment, waiting }: { deployment: DeploymentSummary; waiting: Waiting }) {
  const { number, application, environment } = deployment
  const may = useMay('deploy', { application, environment })
  const queryClient = useQueryClient()
  const settled = {
    onError: sayProblem,
    onSettled: () => queryClient.invalidateQueries({ queryKey: ['deployment', number] }),
  }
  const promote = useMutation({
    mutationFn: () => client().call('promote', { params: { number }, body: {} }),
    ...settled,
  })
  const cancel = useMutation({ mutationFn: () => client().call('cancel', { params: { number } }), ...settled })
  return (
    <section className="card decision" aria-label="It waits for a person">
      <div className="grow stack">
        <State tone="warn">{waiting.text}</State>
        <p className="muted">
          Waits since <Ago at={waiting.since} />; goes back by itself {in_(waiting.until, useNow(5_000))}.
        </p>
        <CommandLine command={`dploy promote ${number}`} />
      </div>
      {may ? (
        <div className="row">
          <button
            type="button"
            className="button primary"
            disabled={promote.isPending}
            onClick={() => promote.mutate()}
          >
            Go on
          </button>
          <Confirm
            trigger={
              <button type="button" className="button" disabled={cancel.isPending}>
                Go back
              </button>
            }
            title={`Roll ${environment} back?`}
            action="Go back"
            danger
            onConfirm={() => cancel.mutate()}
          >
            <p>Servers that were switched get the release before.</p>
          </Confirm>
        </div>
      ) : null}
    </section>
  )
}

/** `in 5 min`. */
function in_(at: number, now: number): string {
  return at <= now + 5_000 ? 'any moment' : `in ${ago(now - (at - now), now).replace(' ago', '')}`
}
