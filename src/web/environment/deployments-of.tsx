import { useQuery } from '@tanstack/react-query'
import { Link, useParams } from 'react-router'
import { queries } from '../api/queries.ts'
import { useMay } from '../api/rights.ts'
import { client } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Empty, Skeleton } from '../components/empty.tsx'
import { Older, useGrowing } from '../components/older.tsx'
import { Problem } from '../components/problem.tsx'
import { useAfter } from '../components/time.tsx'
import { DeploymentTable } from '../deployment/deployments.tsx'
import { placeOf } from '../overview/place.ts'
import { useTitle } from '../shell/use-title.ts'

/** So many at first, and with each further step back. */
const page = 100

/** What was done to an environment, the newest first. */
export default function DeploymentsOf() {
  const { application = '', environment = '' } = useParams()
  useTitle(`Deployments · ${application} → ${environment}`)
  const { data, error } = useQuery(queries.deployments({ application, environment, limit: page }))
  const list = useGrowing(
    `${application}/${environment}`,
    data,
    page,
    async (before) =>
      (
        await client().call('deploymentSummaries', {
          query: { application, environment, limit: page, cursor: String(before) },
        })
      ).deployments,
  )
  const patient = useAfter(300)
  const may = useMay('deploy', { application, environment })
  if (error && !data) return <Problem report={error as never} />
  if (!data) return patient ? <Skeleton lines={5} /> : null
  if (data.length === 0)
    return (
      <Empty
        title="Nothing has been deployed here yet"
        action={
          !may ? null : (
            <Link className="button primary" to={`${placeOf({ application, environment })}/deploy`}>
              Deploy…
            </Link>
          )
        }
      />
    )
  return (
    <div className="stack wide">
      <div className="filters">
        <span className="grow" />
        <CommandLine command={`dploy deployments ${environment}`} />
      </div>
      <div className="card">
        <DeploymentTable deployments={list.all} place={false} />
      </div>
      <Older list={list} />
    </div>
  )
}
