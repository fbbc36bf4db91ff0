import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link, useSearchParams } from 'react-router'
import type { EnvironmentSummary } from '../../protocol/api/environments.ts'
import type { OverviewEnvironment } from '../../protocol/api/overview.ts'
import type { DeploymentSummary } from '../../protocol/deployment.ts'
import { queries } from '../api/queries.ts'
import { useMay, useWho } from '../api/rights.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Skeleton } from '../components/empty.tsx'
import { Problem } from '../components/problem.tsx'
import { RevisionLine } from '../components/revision.tsx'
import { DeploymentStateBadge, State } from '../components/state.tsx'
import { Ago, duration, Elapsed, useAfter } from '../components/time.tsx'
import { useTitle } from '../shell/use-title.ts'
import { Attention, Converge } from './attention.tsx'
import { Days } from './days.tsx'
import { toggleFavourite, useFavourites } from './favourites.ts'
import { FirstSteps } from './first-steps.tsx'
import { needsOf, urgency } from './needs.ts'
import { NeedsYou } from './needs-you.tsx'
import { placeOf } from './place.ts'
import { Ahead, Promote } from './promote.tsx'
import './overview.css'

/** With more environments than this, applications that are well are a line each. */
const foldFrom = 20

const lists = [
  ['', 'All'],
  ['needs', 'Needs you'],
  ['running', 'Deploying'],
  ['favourites', 'Favourites'],
] as const

/** What runs where, whether it is well, and what is going on: the worst first. What is looked for stands in the address. */
export function Overview() {
  useTitle('Overview')
  const { data, error } = useQuery(queries.overview(true))
  const patient = useAfter(300)
  const who = useWho()
  const favourites = useFavourites()
  const [address, setAddress] = useSearchParams()
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set())
  // Who may do nothing anywhere is refused the list too.
  const nothing = who?.rights.length === 0
  if (nothing) return <FirstSteps />
  if (error && !data) return <Problem report={error as never} />
  if (!data) return patient ? <Skeleton lines={3} tall /> : null
  if (data.length === 0) return <FirstSteps />
  const [search, list] = [address.get('q') ?? '', address.get('list') ?? '']
  const say = (key: string, value: string) =>
    setAddress(
      (before) => {
        if (value === '') before.delete(key)
        else before.set(key, value)
        return before
      },
      { replace: true },
    )
  const needs = needsOf(data, who?.rights ?? [])
  const urgent = new Map(data.map((one) => [one, urgency(one, needs)]))
  const words = search.toLowerCase().split(/\s+/).filter(Boolean)
  const kept = data.filter(
    (one) =>
      matches(one, words) &&
      (list !== 'needs' || urgent.get(one)! > 1) &&
      (list !== 'running' || one.running !== null) &&
      (list !== 'favourites' || favourites.has(one.application)),
  )
  const worst = (some: readonly OverviewEnvironment[]) => Math.max(...some.map((one) => urgent.get(one)!))
  const applications = [...Map.groupBy(kept, ({ application }) => application)].toSorted(
    ([a, own], [b, other]) =>
      Number(favourites.has(b)) - Number(favourites.has(a)) || worst(other) - worst(own) || (a < b ? -1 : 1),
  )
  const folds = data.length > foldFrom && words.length === 0
  return (
    <>
      <div className="page-head">
        <h1 className="grow">Overview</h1>
        <CommandLine command="dploy status" />
      </div>
      <NeedsYou needs={needs} />
      <div className="row wrap overview-filters">
        <input
          className="input grow"
          type="search"
          data-search
          aria-label="Search applications, environments, servers and commits"
          placeholder="Search applications, environments, servers, commits"
          value={search}
          onChange={(event) => say('q', event.target.value)}
        />
        <div className="row wrap" role="group" aria-label="Which">
          {lists.map(([value, text]) => (
            <button
              key={value}
              type="button"
              className="button small"
              aria-pressed={list === value}
              onClick={() => say('list', value)}
            >
              {text}
            </button>
          ))}
        </div>
        <span className="muted number" role="status">
          {kept.length === data.length
            ? `${data.length} ${data.length === 1 ? 'environment' : 'environments'}`
            : `${kept.length} of ${data.length} environments`}
        </span>
      </div>
      {kept.length === 0 ? (
        <p className="muted">
          {list === 'favourites' && favourites.size === 0
            ? 'No favourites yet: press the star beside an application.'
            : 'No environment is like that.'}
        </p>
      ) : null}
      {applications.map(([application, environments]) => {
        const unfolded = !folds || open.has(application) || favourites.has(application) || worst(environments) > 0
        return (
          <section key={application} className="card" aria-label={application}>
            <header className="row">
              <button
                type="button"
                className="button quiet small star"
                aria-pressed={favourites.has(application)}
                aria-label={`Favourite: ${application}`}
                onClick={() => toggleFavourite(application)}
              >
                <span aria-hidden="true">{favourites.has(application) ? '★' : '☆'}</span>
              </button>
              <h2 className="grow">{application}</h2>
              {unfolded ? null : (
                <>
                  {environments.map((one) => (
                    <Link key={one.environment} className="folded" to={`${placeOf(one)}/servers`}>
                      {one.environment} <Health summary={one} plain />
                    </Link>
                  ))}
                  <button
                    type="button"
                    className="button quiet small"
                    aria-expanded="false"
                    onClick={() => setOpen((before) => new Set([...before, application]))}
                  >
                    Unfold {application}
                  </button>
                </>
              )}
            </header>
            {unfolded
              ? environments.map((environment) => (
                  <Environment
                    key={environment.environment}
                    summary={environment}
                    all={data}
                    running={environment.running}
                  />
                ))
              : null}
          </section>
        )
      })}
    </>
  )
}

/** All words, in any order, in what an environment is known by. */
function matches(one: OverviewEnvironment, words: readonly string[]): boolean {
  if (words.length === 0) return true
  const { wanted } = one
  const text = [
    one.application,
    one.environment,
    one.branch ?? '',
    ...one.servers,
    wanted
      ? `release ${wanted.release} ${wanted.revision.commit ?? ''} ${wanted.revision.subject} ${wanted.revision.author}`
      : '',
  ]
    .join('\n')
    .toLowerCase()
  return words.every((word) => text.includes(word))
}

function Environment({
  summary,
  all,
  running,
}: {
  summary: OverviewEnvironment
  all: readonly OverviewEnvironment[]
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
          <Ahead ahead={summary.ahead} />
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

function Health({ summary, plain = false }: { summary: OverviewEnvironment; plain?: boolean }) {
  const { health, wanted } = summary
  if (health === null) return <State tone="idle">asking {summary.servers.length} servers…</State>
  const { servers, absent, sick, drifted, out, unknown, balancer, astray } = health
  if (servers === 0) return <State tone="warn">no servers</State>
  const parts = [
    absent > 0 ? `${absent} not connected` : '',
    sick > 0 ? `${sick} not well` : '',
    drifted > 0 ? `${drifted} drifted` : '',
    out > 0 ? `${out} out of traffic` : '',
    unknown > 0 ? `${unknown} not known` : '',
    balancer ? '' : 'the balancer does not say who serves',
  ].filter(Boolean)
  if (parts.length === 0)
    return (
      <State tone="good">
        {wanted !== null
          ? `healthy on ${servers} of ${servers}`
          : servers === 1
            ? 'server connected'
            : `${servers} servers connected`}
      </State>
    )
  const state = (
    <State tone={sick + absent > 0 || !balancer ? 'bad' : 'warn'}>
      {absent === servers ? 'no server connected' : parts.join(', ')}
    </State>
  )
  if (plain) return state
  return (
    <>
      <Link to={`${placeOf(summary)}/servers`}>{state}</Link>
      {drifted > 0 ? (
        <>
          {' '}
          <Converge summary={summary} drifted={astray} count={drifted} />
        </>
      ) : null}
    </>
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
