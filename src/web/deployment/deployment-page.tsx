import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useEffect, useMemo, useState } from 'react'
import { Link, useNavigate, useParams } from 'react-router'
import type { DeploymentSummary } from '../../protocol/deployment.ts'
import { useMay } from '../api/rights.ts'
import { Decision } from '../approval/decision.tsx'
import { queries } from '../api/queries.ts'
import { client } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Confirm } from '../components/confirm.tsx'
import { Empty, Skeleton } from '../components/empty.tsx'
import { Problem } from '../components/problem.tsx'
import { RevisionLine } from '../components/revision.tsx'
import { DeploymentStateBadge, deploymentTone, isOver, State } from '../components/state.tsx'
import { Ago, Elapsed, useAfter } from '../components/time.tsx'
import { sayProblem } from '../components/toasts.tsx'
import { Unlock } from '../overview/attention.tsx'
import { placeOf } from '../overview/place.ts'
import { useTitle } from '../shell/use-title.ts'
import type { LiveDeployment } from './live-deployment.ts'
import { LogPanel } from './log-panel.tsx'
import { Phases } from './phases.tsx'
import { Outcome } from './outcome.tsx'
import { PendingReceipt } from './pending-receipt.tsx'
import { ReceiptCard } from './receipt.tsx'
import { Cursor } from './time-axis.ts'
import { Timeline } from './timeline.tsx'
import { useLive, useWatched } from './use-live.ts'
import './deployment.css'

/** One deployment, live: where it stands, what each server does, what users notice, and what can be done about it. */
export default function DeploymentPage() {
  const number = Number(useParams().number)
  return Number.isSafeInteger(number) && number > 0 ? <Page key={number} number={number} /> : <NoSuch />
}

function NoSuch() {
  return (
    <Empty
      title="There is no such deployment"
      action={
        <Link className="button" to="/deployments">
          All deployments
        </Link>
      }
    />
  )
}

function Page({ number }: { number: number }) {
  const live = useLive(number)
  useWatched(live.parts.head)
  const queryClient = useQueryClient()
  const { data: deployment, error } = useQuery(queries.deployment(number))
  const { data: environments } = useQuery(queries.environments())
  // Until the plan says which they are, their rows are kept free.
  const summary = environments?.find(
    (one) => one.application === deployment?.application && one.environment === deployment.environment,
  )
  const servers = summary?.servers.length ?? 0
  const [picked, setPicked] = useState<string | null>(null)
  const cursor = useMemo(() => new Cursor(), [])
  const patient = useAfter(300)
  const state = live.state ?? deployment?.state ?? null
  useTitle(
    deployment
      ? `${live.waiting !== null && !isOver(state ?? '') ? 'paused' : state === null ? '' : deploymentTone(state).text} · ${deployment.application} → ${deployment.environment} · deployment ${number}`
      : `Deployment ${number}`,
  )

  // The revision, the release and who may be rolled back to are learned on the way.
  useEffect(
    () => void queryClient.invalidateQueries({ queryKey: ['deployment', number] }),
    [state, queryClient, number],
  )

  if (error && !deployment)
    return (error as { code?: string }).code === 'not_found' ? <NoSuch /> : <Problem report={error as never} />
  if (!deployment || state === null) return patient ? <Skeleton lines={4} tall /> : null
  return (
    <>
      <Head deployment={deployment} live={live} state={state} />
      <p className="hidden" role="status">{`Deployment ${number}: ${deploymentTone(state).text}`}</p>
      <Decision deployment={deployment} state={state} waiting={live.waiting} />
      <Outcome deployment={deployment} state={state} />
      <Phases live={live} />
      {live.problem ? <Problem report={live.problem} /> : null}
      {live.failure ? <Failure live={live} deployment={deployment} onServer={setPicked} /> : null}
      {live.receipt ? <ReceiptCard receipt={live.receipt} /> : live.complete ? null : <PendingReceipt live={live} />}
      <Timeline live={live} expected={servers} picked={picked} onPick={setPicked} cursor={cursor} />
      <LogPanel live={live} server={picked} onServer={setPicked} cursor={cursor} />
      {summary?.lock?.number === number ? (
        <p className="row wrap muted">
          It does not move, and nobody runs it any more? <Unlock summary={summary} lock={summary.lock} />
        </p>
      ) : null}
    </>
  )
}

function Head({ deployment, live, state }: { deployment: DeploymentSummary; live: LiveDeployment; state: string }) {
  const { number, application, environment } = deployment
  const kind = { deploy: '', rollback: 'rollback', converge: 'converge' }[deployment.kind]
  return (
    <div className="page-head">
      <div className="grow stack">
        <h1 className="row wrap">
          <span>Deployment {number}</span>
          <span className="muted">·</span>
          <Link to={`${placeOf(deployment)}/servers`}>
            {application} → {environment}
          </Link>
          {kind ? <span className="tag">{kind}</span> : null}
        </h1>
        <div className="row wrap">
          {live.waiting !== null && !isOver(state) ? (
            <State tone="warn">paused</State>
          ) : (
            <DeploymentStateBadge state={state} />
          )}
          {live.began === null ? null : <Elapsed begin={live.began} end={live.ended} />}
          {deployment.release === null ? null : (
            <span className="muted number">
              release {deployment.from === null ? '' : `${deployment.from} → `}
              {deployment.release}
            </span>
          )}
          <span className="muted">by {deployment.requestedBy}</span>
          <span className="muted">
            <Ago at={deployment.createdAt} />
          </span>
          <CommandLine command={`dploy deployments ${number}`} />
        </div>
        <RevisionLine revision={deployment.revision} />
      </div>
      <Actions deployment={deployment} state={state} waits={live.waiting !== null} />
    </div>
  )
}

function Actions({ deployment, state, waits }: { deployment: DeploymentSummary; state: string; waits: boolean }) {
  const { number, application, environment, from } = deployment
  const navigate = useNavigate()
  const queryClient = useQueryClient()
  const cancel = useMutation({ mutationFn: () => client().call('cancel', { params: { number } }), onError: sayProblem })
  const settled = {
    onError: sayProblem,
    onSettled: () => queryClient.invalidateQueries({ queryKey: ['deployment', number] }),
  }
  const pause = useMutation({ mutationFn: () => client().call('pause', { params: { number }, body: {} }), ...settled })
  const unpause = useMutation({
    mutationFn: () => client().call('promote', { params: { number }, body: {} }),
    ...settled,
  })
  const rollback = useMutation({
    mutationFn: () =>
      client().call('rollback', { params: { application, environment }, body: from === null ? {} : { release: from } }),
    onSuccess: (started) => void navigate(`/deployments/${started.number}`),
    onError: sayProblem,
  })
  const { data: environments } = useQuery(queries.environments())
  const wanted = environments?.find((one) => one.application === application && one.environment === environment)?.wanted
    ?.release
  const may = useMay('deploy', { application, environment })
  if (!may) return null
  if (!isOver(state)) {
    const switched = state === 'activating' || state === 'baking'
    if (state === 'rolling_back') return null
    const pauses = deployment.pausedBy !== null && !waits
    return (
      <div className="actions">
        {pauses ? (
          <button
            type="button"
            className="button"
            title={`${deployment.pausedBy} let it stop before its next batch`}
            disabled={unpause.isPending}
            onClick={() => unpause.mutate()}
          >
            Take the pause back
          </button>
        ) : !['waiting_for_approval', 'baking'].includes(state) && !waits ? (
          <button
            type="button"
            className="button"
            title="Let it stop before its next batch"
            disabled={pause.isPending}
            onClick={() => pause.mutate()}
          >
            Pause
          </button>
        ) : null}
        <Confirm
          trigger={
            <button
              type="button"
              className="button"
              data-rollback={switched || undefined}
              disabled={cancel.isPending || cancel.isSuccess}
            >
              {cancel.isPending || cancel.isSuccess ? 'Stopping…' : switched ? 'Roll back' : 'Cancel'}
            </button>
          }
          title={switched ? `Roll ${environment} back?` : `Cancel deployment ${number}?`}
          action={switched ? 'Roll back' : 'Cancel the deployment'}
          danger
          command={`dploy abort ${number}`}
          onConfirm={() => cancel.mutate()}
        >
          {switched ? (
            <p>
              It stops here. Servers that run release {deployment.release} go back to{' '}
              {from === null ? 'nothing: there was no release before' : `release ${from}`}.
            </p>
          ) : (
            <p>It stops here. No server has been switched; every one goes on as it is.</p>
          )}
        </Confirm>
      </div>
    )
  }
  const again = (
    <Link
      className="button"
      to={`/environments/${encodeURIComponent(application)}/${encodeURIComponent(environment)}/deploy`}
    >
      Deploy…
    </Link>
  )
  if (state !== 'succeeded' || from === null || from === deployment.release || wanted !== deployment.release)
    return <div className="actions">{again}</div>
  return (
    <div className="actions">
      <Confirm
        trigger={
          <button type="button" className="button" data-rollback disabled={rollback.isPending}>
            Roll back to release {from}
          </button>
        }
        title={`Roll ${environment} back to release ${from}?`}
        action={`Roll back to release ${from}`}
        danger
        command={`dploy rollback ${environment} --release ${from}`}
        onConfirm={() => rollback.mutate()}
      >
        <p>
          {application} → {environment} runs release {deployment.release} now. Its servers go back to release {from},
          batch by batch, without building or moving a file that is kept.
        </p>
      </Confirm>
      {again}
    </div>
  )
}

/** What went wrong, on which server, and the next step. */
function Failure({
  live,
  deployment,
  onServer,
}: {
  live: LiveDeployment
  deployment: DeploymentSummary
  onServer: (name: string) => void
}) {
  const failed = live.servers.order.filter((server) => server.failure !== null)
  const may = useMay('deploy', deployment)
  const commit = deployment.revision?.commit ?? null
  const place = `/environments/${encodeURIComponent(deployment.application)}/${encodeURIComponent(deployment.environment)}/deploy`
  return (
    <div className="stack">
      <Problem report={live.failure!}>
        {isOver(live.state ?? '') ? (
          <>
            {may ? (
              <Link className="button small" to={`${place}${commit ? `?revision=${commit}` : ''}`}>
                Deploy {commit ? `${commit.slice(0, 7)} ` : ''}again…
              </Link>
            ) : null}
            <CommandLine command={`dploy explain ${deployment.number}`} label="Why, on the command line" />
          </>
        ) : null}
      </Problem>
      {failed.length > 0 ? (
        <ul className="stack failed-servers">
          {failed.slice(0, 10).map((server) => (
            <li key={server.name}>
              <Problem report={{ ...server.failure!, where: server.name }}>
                <CommandLine
                  command={`dploy logs ${deployment.environment} --on ${server.name}`}
                  label={`What ${server.name} printed, on the command line`}
                />
                <button
                  type="button"
                  className="button small"
                  onClick={() => (
                    onServer(server.name),
                    document.querySelector('.log')?.scrollIntoView({ block: 'nearest' })
                  )}
                >
                  Log of {server.name}
                </button>
              </Problem>
            </li>
          ))}
        </ul>
      ) : null}
    </div>
  )
}
