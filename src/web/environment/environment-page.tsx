import { useQuery } from '@tanstack/react-query'
import { Link, NavLink, Outlet, useParams } from 'react-router'
import { mayAt } from '../../protocol/api/access.ts'
import { queries } from '../api/queries.ts'
import { useMay, useWho } from '../api/rights.ts'
import { Empty } from '../components/empty.tsx'
import { RevisionLine } from '../components/revision.tsx'
import { DeploymentStateBadge, State } from '../components/state.tsx'
import { Ago } from '../components/time.tsx'
import { placeOf } from '../overview/place.ts'
import { otherPlaces, promotionTo } from '../overview/promote.tsx'
import { RollBack } from './roll-back.tsx'
import './environment.css'

const tabs = [
  ['servers', 'Servers'],
  ['releases', 'Releases'],
  ['deployments', 'Deployments'],
  ['logs', 'Logs'],
  ['console', 'Console'],
  ['settings', 'Settings'],
] as const

/** Where something runs: its servers, releases, deployments and what it prints. */
export default function EnvironmentPage() {
  const { application = '', environment = '' } = useParams()
  const { data } = useQuery(queries.environments())
  const summary = data?.find((one) => one.application === application && one.environment === environment)
  const place = placeOf({ application, environment })
  const may = useMay('deploy', { application, environment })
  const administers = useMay('administer', { application, environment })
  const who = useWho()
  const others = summary
    ? otherPlaces(summary, data ?? []).filter((one) => mayAt(who?.rights ?? [], 'deploy', one))
    : []
  if (data && !summary)
    return (
      <Empty
        page
        title={`There is no ${application} → ${environment}`}
        action={
          <Link className="button" to="/">
            Overview
          </Link>
        }
      />
    )
  return (
    <>
      <div className="page-head">
        <div className="grow stack">
          <h1>
            {application} → {environment}
          </h1>
          <div className="row wrap">
            {summary?.lock ? (
              <Link to={`/deployments/${summary.lock.number}`}>
                {summary.waiting === null ? (
                  <DeploymentStateBadge state={summary.lock.state} />
                ) : (
                  <State tone="warn">paused</State>
                )}{' '}
                deployment {summary.lock.number}
              </Link>
            ) : null}
            {summary?.lock && summary.wanted ? (
              <span className="muted">on its way: release {summary.wanted.release}</span>
            ) : summary?.wanted ? (
              <span className="muted">
                release {summary.wanted.release} since <Ago at={summary.wanted.since} />
              </span>
            ) : summary ? (
              <State tone="idle">nothing deployed yet</State>
            ) : null}
          </div>
          {summary?.wanted ? <RevisionLine revision={summary.wanted.revision} /> : null}
        </div>
        <div className="actions">
          {summary ? <RollBack summary={summary} /> : null}
          {others.map((one) => (
            <Link key={one.environment} className="button" to={promotionTo(one, summary!)}>
              Promote to {one.environment}…
            </Link>
          ))}
          {may ? (
            <Link className="button primary" data-deploy to={`${place}/deploy`}>
              Deploy…
            </Link>
          ) : null}
        </div>
      </div>
      <nav className="tabs" aria-label={`${application} → ${environment}`}>
        {tabs
          .filter(([path]) => path !== 'console' || administers)
          .map(([path, title]) => (
            <NavLink key={path} to={`${place}/${path}`}>
              {title}
            </NavLink>
          ))}
      </nav>
      <Outlet />
    </>
  )
}
