import { useMutation, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link, useNavigate, useParams } from 'react-router'
import type { ReleaseReadiness, ReleaseSummary } from '../../protocol/api/environments.ts'
import { queries } from '../api/queries.ts'
import { useMay } from '../api/rights.ts'
import { client } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Confirm } from '../components/confirm.tsx'
import { Empty, Skeleton } from '../components/empty.tsx'
import { Older, useGrowing } from '../components/older.tsx'
import { Problem } from '../components/problem.tsx'
import { RevisionLine } from '../components/revision.tsx'
import { State } from '../components/state.tsx'
import { Ago, useAfter } from '../components/time.tsx'
import { sayProblem } from '../components/toasts.tsx'
import { lackText, readinessOf, sendText } from '../servers/readiness.ts'
import { serverQueries } from '../servers/queries.ts'
import { placeOf } from '../overview/place.ts'
import { useTitle } from '../shell/use-title.ts'
import { Compare } from './compare.tsx'

/** As many as the query of the first asks for. */
const page = 200

/** What ran here, the newest first: compare two, go back to one. */
export default function Releases() {
  const { application = '', environment = '' } = useParams()
  useTitle(`Releases · ${application} → ${environment}`)
  const { data, error } = useQuery(queries.releases(application, environment))
  const { data: readiness } = useQuery(serverQueries.readiness({ application, environment }))
  const [picked, setPicked] = useState<number[]>([])
  const list = useGrowing(
    `${application}/${environment}`,
    data,
    page,
    async (before) =>
      (
        await client().call('releases', {
          params: { application, environment },
          query: { limit: page, cursor: String(before) },
        })
      ).releases,
  )
  const patient = useAfter(300)
  const may = useMay('deploy', { application, environment })
  if (error && !data) return <Problem report={error as never} />
  if (!data) return patient ? <Skeleton lines={5} /> : null
  if (data.length === 0)
    return (
      <Empty
        title="No release yet"
        action={
          !may ? null : (
            <Link className="button primary" to={`${placeOf({ application, environment })}/deploy`}>
              Deploy the first…
            </Link>
          )
        }
      >
        <p>
          Each deployment makes a release: files, service definition and variables of that moment. Any that is kept can
          be activated again.
        </p>
      </Empty>
    )
  const toggle = (number: number) =>
    setPicked((before) =>
      before.includes(number) ? before.filter((one) => one !== number) : [...before.slice(-1), number],
    )
  const [from, to] = picked.toSorted((a, b) => a - b)
  return (
    <div className="stack wide">
      <div className="filters">
        <p className="muted grow">
          Choose two to see what differs.
          {readiness && readiness.answering < readiness.servers
            ? ` ${readiness.servers - readiness.answering} of ${readiness.servers} servers do not answer: ${readiness.silent.slice(0, 5).join(', ')}${readiness.servers - readiness.answering > 5 ? ', …' : ''}.`
            : ''}
        </p>
        <CommandLine command={`dploy releases ${environment}`} />
      </div>
      <div className="card table-box">
        <table className="table">
          <thead>
            <tr>
              <th>
                <span className="hidden">Compare</span>
              </th>
              <th>Release</th>
              <th>Revision</th>
              <th>Made</th>
              <th>State</th>
              <th>Ready</th>
              <th>
                <span className="hidden">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {list.all.map((release) => (
              <tr key={release.number}>
                <td>
                  <input
                    type="checkbox"
                    aria-label={`Compare release ${release.number}`}
                    checked={picked.includes(release.number)}
                    onChange={() => toggle(release.number)}
                  />
                </td>
                <td className="number">{release.number}</td>
                <td className="revision-cell">
                  <RevisionLine revision={release.revision} />
                </td>
                <td>
                  <Ago at={release.createdAt} />
                </td>
                <td>
                  <Fate release={release} />
                </td>
                <td>
                  <Ready readiness={readinessOf(readiness, release.number)} answering={readiness?.answering ?? 0} />
                </td>
                <td>
                  <span className="actions">
                    {release.wanted || !may ? null : (
                      <Activate
                        release={release}
                        readiness={readinessOf(readiness, release.number)}
                        application={application}
                        environment={environment}
                        current={data.find((one) => one.wanted)?.number ?? null}
                      />
                    )}
                  </span>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <Older list={list} />
      {picked.length > 0 ? (
        <div className="compare-bar">
          <span className="grow">
            {to === undefined ? `Release ${from} is chosen; choose another.` : `Releases ${from} and ${to}`}
          </span>
          <button type="button" className="button quiet" onClick={() => setPicked([])}>
            Clear
          </button>
          {to === undefined ? null : (
            <Compare application={application} environment={environment} from={from!} to={to} />
          )}
        </div>
      ) : null}
    </div>
  )
}

/** On how many servers a release can be activated without sending a file, and what the others lack. */
function Ready({ readiness, answering }: { readiness: ReleaseReadiness | null; answering: number }) {
  if (readiness === null || answering === 0) return <span className="muted">–</span>
  const { ready, lackingServers } = readiness
  return (
    <span className="row wrap">
      <State tone={lackingServers === 0 ? 'good' : 'idle'}>
        {lackingServers === 0
          ? `on ${ready === 1 ? 'its server' : `all ${ready} servers`}`
          : `on ${ready} of ${answering}`}
      </State>
      {lackingServers === 0 ? null : (
        <span className="muted" title={readiness.lacking.map(({ server }) => server).join(', ')}>
          {lackText(readiness)}
        </span>
      )}
    </span>
  )
}

/** `deployment 5 rolled it back`. */
function fateText({ last }: ReleaseSummary): string {
  if (last === null) return 'no deployment of it is known'
  const ends: Partial<Record<typeof last.state, string>> = {
    rolled_back: 'rolled it back',
    failed: 'failed',
    cancelled: 'was cancelled',
  }
  return `deployment ${last.number} ${ends[last.state] ?? 'has not ended'}`
}

/** What a release is and was: the one that is wanted, one that served, one that never did. */
function Fate({ release }: { release: ReleaseSummary }) {
  if (release.wanted) return <State tone="good">runs now</State>
  if (release.served !== false)
    return release.last && ['rolled_back', 'failed'].includes(release.last.state) ? (
      <State tone="warn">
        <Link to={`/deployments/${release.last.number}`}>last: {fateText(release)}</Link>
      </State>
    ) : (
      <span className="muted">served before</span>
    )
  return (
    <span className="row wrap">
      <State tone="warn">never served</State>
      {release.last ? (
        <Link className="muted" to={`/deployments/${release.last.number}`}>
          {fateText(release)}
        </Link>
      ) : null}
    </span>
  )
}

function Activate({
  release,
  readiness,
  application,
  environment,
  current,
}: {
  release: ReleaseSummary
  readiness: ReleaseReadiness | null
  application: string
  environment: string
  current: number | null
}) {
  const navigate = useNavigate()
  const rollback = useMutation({
    mutationFn: () =>
      client().call('rollback', { params: { application, environment }, body: { release: release.number } }),
    onSuccess: (started) => void navigate(`/deployments/${started.number}`),
    onError: sayProblem,
  })
  const fresh = release.served === false
  const back = !fresh && (current === null || release.number < current)
  const [sure, setSure] = useState(false)
  return (
    <Confirm
      trigger={
        <button
          type="button"
          className="button small"
          disabled={rollback.isPending}
          aria-label={`${back ? 'Roll back to' : 'Activate'} release ${release.number}`}
        >
          {back ? 'Roll back' : 'Activate'}
        </button>
      }
      title={`${back ? 'Roll' : 'Switch'} ${environment} ${back ? 'back ' : ''}to release ${release.number}?`}
      action={`${back ? 'Roll back to' : 'Activate'} release ${release.number}`}
      danger
      ready={!fresh || sure}
      command={`dploy rollback ${environment} --release ${release.number}`}
      onConfirm={() => rollback.mutate()}
      onOpenChange={() => setSure(false)}
    >
      {fresh ? (
        <>
          <p className="warning">It never served: {fateText(release)}.</p>
          <label className="row">
            <input type="checkbox" checked={sure} onChange={(event) => setSure(event.target.checked)} />
            Activate it all the same
          </label>
        </>
      ) : null}
      <p>
        {application} → {environment} runs {current === null ? 'nothing' : `release ${current}`} now.{' '}
        {sendText(readiness, release.number)}
      </p>
      <RevisionLine revision={release.revision} />
    </Confirm>
  )
}
