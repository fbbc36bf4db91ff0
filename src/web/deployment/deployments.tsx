import { useQuery } from '@tanstack/react-query'
import { Link } from 'react-router'
import type { DeploymentSummary } from '../../protocol/deployment.ts'
import { queries } from '../api/queries.ts'
import { client } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Empty, Skeleton } from '../components/empty.tsx'
import { Older, useGrowing } from '../components/older.tsx'
import { Problem } from '../components/problem.tsx'
import { RevisionLine } from '../components/revision.tsx'
import { DeploymentStateBadge } from '../components/state.tsx'
import { Ago, Elapsed, useAfter } from '../components/time.tsx'
import { useTitle } from '../shell/use-title.ts'

/** So many at first, and with each further step back. */
const page = 100

/** All deployments, the newest first. */
export default function Deployments() {
  useTitle('Deployments')
  const { data, error } = useQuery(queries.deployments({ limit: page }))
  const list = useGrowing(
    'all',
    data,
    page,
    async (before) =>
      (await client().call('deploymentSummaries', { query: { limit: page, cursor: String(before) } })).deployments,
  )
  const patient = useAfter(300)
  return (
    <>
      <div className="page-head">
        <h1 className="grow">Deployments</h1>
        <CommandLine command="dploy deployments" />
      </div>
      {error && !data ? <Problem report={error as never} /> : null}
      {!data && !error ? patient && <Skeleton lines={6} /> : null}
      {data?.length === 0 ? (
        <Empty
          title="Nothing has been deployed yet"
          action={
            <Link className="button primary" to="/">
              Choose an environment
            </Link>
          }
        >
          <p>Each deployment gets a page of its own here: what each server did, what users noticed, and its log.</p>
        </Empty>
      ) : null}
      {data && data.length > 0 ? (
        <>
          <div className="card">
            <DeploymentTable deployments={list.all} />
          </div>
          <Older list={list} />
        </>
      ) : null}
    </>
  )
}

export function DeploymentTable({
  deployments,
  place = true,
}: {
  deployments: readonly DeploymentSummary[]
  place?: boolean
}) {
  return (
    <div className="table-box">
      <table className="table">
        <thead>
          <tr>
            <th>Deployment</th>
            <th>State</th>
            {place ? <th>Where</th> : null}
            <th>Release</th>
            <th>Revision</th>
            <th>Took</th>
            <th>Noticed</th>
            <th>By</th>
            <th>When</th>
          </tr>
        </thead>
        <tbody>
          {deployments.map((one) => (
            <tr key={one.id}>
              <td className="nowrap">
                <Link to={`/deployments/${one.number}`}>{one.number}</Link>
                {one.kind === 'deploy' ? null : (
                  <>
                    {' '}
                    <span className="tag">{one.kind}</span>
                  </>
                )}
              </td>
              <td>
                <DeploymentStateBadge state={one.state} />
              </td>
              {place ? (
                <td className="nowrap">
                  {one.application} → {one.environment}
                </td>
              ) : null}
              <td className="number nowrap">
                {one.from === null ? '' : `${one.from} → `}
                {one.release ?? '–'}
              </td>
              <td className="revision-cell">
                <RevisionLine revision={one.revision} who={false} />
              </td>
              <td className="nowrap">
                {one.startedAt === null ? '–' : <Elapsed begin={one.startedAt} end={one.finishedAt} />}
              </td>
              <td className="number nowrap">
                {one.receipt && one.receipt.source !== 'none'
                  ? `${one.receipt.failed + one.receipt.stalled} of ${one.receipt.seen.toLocaleString('en')}`
                  : '–'}
              </td>
              <td className="nowrap">{one.requestedBy}</td>
              <td>
                <Ago at={one.createdAt} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
