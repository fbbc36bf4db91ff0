import { useQuery } from '@tanstack/react-query'
import { Link } from 'react-router'
import type { EnvironmentSummary } from '../../protocol/api/environments.ts'
import type { DeploymentSummary } from '../../protocol/deployment.ts'
import { queries } from '../api/queries.ts'
import { useMay, useWho } from '../api/rights.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Skeleton } from '../components/empty.tsx'
import { Problem } from '../components/problem.tsx'
import { RevisionLine } from '../components/revision.tsx'
import { DeploymentStateBadge, isOver, State } from '../components/state.tsx'
import { Ago, duration, Elapsed, useAfter } from '../components/time.tsx'
import { useTitle } from '../shell/use-title.ts'
import { Attention, Converge } from './attention.tsx'
import { Days } from './days.tsx'
import { FirstSteps } from './first-steps.tsx'
import { placeOf } from './place.ts'
import { Ahead, Promote } from './promote.tsx'
import './overview.css'

/** What runs where, whether it is well, and what is going on. */
export function Overview() {
  useTitle('Overview')
  const { data, error } = useQuery(queries.environments())
  const { data: deployments } = useQuery(queries.deployments({ limit: 200 }))
  const patient = useAfter(300)
  // Who may do nothing anywhere is refused the list too.
  const nothing = useWho()?.rights.length === 0
  if (nothing) return <FirstSteps />
  if (error && !data) return <Problem report={error as never} />
  if (!data) return patient ? <Skeleton lines={3} tall /> : null
  if (data.length === 0) return <FirstSteps />
  const applications = Map.groupBy(data, ({ application }) => application)
  return (
    <>
      <div className="page-head">
        <h1 className="grow">Overview</h1>
        <CommandLine command="dploy status" />
      </div>
      {[...applications].map(([application, environments]) => (
        <section key={application} className="card" aria-label={application}>
          <header>
            <h2 className="grow">{application}</h2>
          </header>
          {environments.map((environment) => (
            <Environment
              key={environment.environment}
              summary={environment}
              all={environments}
              running={
                (deployments ?? []).find(
                  (one) =>
                    one.application === application &&
                    one.environment === environment.environment &&
                    !isOver(one.state) &&
                    one.number === environment.lock?.number,
                ) ?? null
              }
            />
          ))}
        </section>
      ))}
    </>
  )
}

function Environment({
  summary,
  all,
  running,
}: {
  summary: EnvironmentSummary
  all: readonly EnvironmentSummary[]
  running: DeploymentSummary | null
}) {
  const { application, environment, wanted, branch } = summary
  const place = placeOf(summary)
  const may = useMay('deploy', summary)
  return (
    <div className="environment">
      <div className="environment-name">
        <h3>
          <Link to={`${place}/servers`}>{environment}</Link>
        </h3>
        <span className="muted number">
          {summary.servers.length} {summary.servers.length === 1 ? 'server' : 'servers'}
        </span>
      </div>
      <div className="grow stack environment-facts">
        <div className="row">
          {wanted === null ? (
            <span className="muted">Nothing has been deployed here yet.</span>
          ) : (
            <RevisionLine revision={wanted.revision} />
          )}
          {branch === null ? null : (
            <span className="tag" title="The branch that it follows">
              {branch}
            </span>
          )}
        </div>
        <div className="row wrap facts-line">
          {running ? <Running deployment={running} paused={summary.waiting !== null} /> : <Health summary={summary} />}
          {running ? (
            <Way deployment={running} />
          ) : wanted === null ? null : (
            <span className="muted">
              release {wanted.release} since <Ago at={wanted.since} />
            </span>
          )}
          <Ahead summary={summary} all={all} />
          {summary.ended && !running ? <Last deployment={summary.ended} /> : null}
        </div>
        <Attention summary={summary} running={running !== null} />
      </div>
      <Days application={application} environment={environment} />
      <div className="row environment-actions">
        <Promote summary={summary} all={all} />
        {running ? (
          <Link className="button" to={`/deployments/${running.number}`}>
            Watch
          </Link>
        ) : may ? (
          <Link
            className="button primary"
            data-deploy
            to={`${place}/deploy`}
            aria-label={`Deploy ${summary.application} to ${environment}`}
          >
            Deploy…
          </Link>
        ) : null}
      </div>
    </div>
  )
}

function Health({ summary }: { summary: EnvironmentSummary }) {
  const { data, error } = useQuery({ ...queries.status(summary.application, summary.environment) })
  if (error && !data) return <State tone="warn">state not known</State>
  if (!data) return <State tone="idle">asking {summary.servers.length} servers…</State>
  const count = data.servers.length
  const absent = data.servers.filter((server) => !server.connected).length
  const astray = data.servers.filter((server) => server.connected && server.drifted)
  const drifted = astray.length
  const sick = data.servers.filter(
    (server) =>
      server.connected &&
      (server.problem !== null || server.service?.state === 'failed' || server.service?.state === 'stopped'),
  ).length
  // Out by a person's hand, or nobody can say: neither is healthy. The group that does not serve is out on purpose.
  const out = data.servers.filter(
    ({ idle, traffic }) => !idle && traffic !== null && traffic.admission !== 'ready',
  ).length
  const unknown = data.servers.filter(
    ({ connected, problem, service }) => connected && problem === null && service === null && data.wanted !== null,
  ).length
  const place = placeOf(summary)
  if (count === 0) return <State tone="warn">no servers</State>
  if (absent === count)
    return (
      <Link to={`${place}/servers`}>
        <State tone="bad">no server connected</State>
      </Link>
    )
  if (absent + drifted + sick + out + unknown > 0 || data.balancerProblem !== null) {
    const parts = [
      absent > 0 ? `${absent} not connected` : '',
      sick > 0 ? `${sick} not well` : '',
      drifted > 0 ? `${drifted} drifted` : '',
      out > 0 ? `${out} out of traffic` : '',
      unknown > 0 ? `${unknown} not known` : '',
      data.balancerProblem === null ? '' : 'the balancer does not say who serves',
    ].filter(Boolean)
    return (
      <>
        <Link to={`${place}/servers`}>
          <State tone={sick + absent > 0 ? 'bad' : 'warn'}>{parts.join(', ')}</State>
        </Link>
        {drifted > 0 ? (
          <>
            {' '}
            <Converge summary={summary} drifted={astray} />
          </>
        ) : null}
      </>
    )
  }
  if (data.wanted === null)
    return <State tone="good">{count === 1 ? 'server connected' : `${count} servers connected`}</State>
  return (
    <State tone="good">
      healthy on {count} of {count}
    </State>
  )
}

/** `release 9 → 10 on 1 of 4 servers`: while it is on its way, none of them is what runs here. */
function Way({ deployment: { from, release, progress } }: { deployment: DeploymentSummary }) {
  if (release === null) return null
  return (
    <span className="muted number">
      release {from === null ? '' : `${from} → `}
      {release}
      {progress ? ` on ${progress.done} of ${progress.servers} servers` : ''}
    </span>
  )
}

function Running({ deployment, paused }: { deployment: DeploymentSummary; paused: boolean }) {
  const { progress } = deployment
  return (
    <>
      {paused ? <State tone="warn">paused</State> : <DeploymentStateBadge state={deployment.state} />}
      {progress ? (
        <span className="number">
          batch {progress.batch + 1} of {progress.batches}
        </span>
      ) : null}
      {deployment.startedAt === null ? null : <Elapsed begin={deployment.startedAt} end={null} />}
      {progress ? (
        <progress
          className="progress"
          max={progress.servers}
          value={progress.done}
          aria-label={`${progress.done} of ${progress.servers} servers`}
        />
      ) : null}
      <span className="muted">by {deployment.requestedBy}</span>
    </>
  )
}

function Last({ deployment }: { deployment: NonNullable<EnvironmentSummary['ended']> }) {
  const { receipt } = deployment
  const took =
    deployment.startedAt !== null && deployment.finishedAt !== null
      ? duration(deployment.finishedAt - deployment.startedAt)
      : null
  return (
    <span className="row wrap">
      <span className="muted">last:</span>
      <Link to={`/deployments/${deployment.number}`}>
        <DeploymentStateBadge state={deployment.state} />
      </Link>
      <span className="muted number">
        {[
          took,
          receipt && receipt.source !== 'none'
            ? `${receipt.failed + receipt.stalled} of ${receipt.seen.toLocaleString('en')} noticed`
            : null,
        ]
          .filter(Boolean)
          .join(', ')}
      </span>
    </span>
  )
}
