import { useMutation, useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearchParams } from 'react-router'
import type { Plan } from '../../protocol/deployment.ts'
import { queries } from '../api/queries.ts'
import { useMay } from '../api/rights.ts'
import { client } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Skeleton } from '../components/empty.tsx'
import { Problem } from '../components/problem.tsx'
import { RevisionLine } from '../components/revision.tsx'
import { duration } from '../components/time.tsx'
import { sayProblem } from '../components/toasts.tsx'
import { useTitle } from '../shell/use-title.ts'
import { bytes } from '../deployment/receipt.tsx'
import { RevisionChoice } from './revision-choice.tsx'
import './deploy.css'

/** What a deployment would change, before it does: the revision, the commits, the plan, what stands in its way; one button. */
export default function DeployPage() {
  const { application = '', environment = '' } = useParams()
  const [search, setSearch] = useSearchParams()
  const revision = search.get('revision') ?? ''
  const promoted = search.get('promote')
  const navigate = useNavigate()
  const may = useMay('deploy', { application, environment })
  const { data: environments } = useQuery(queries.environments())
  const running = environments?.find((one) => one.application === application && one.environment === environment)?.wanted?.revision.commit ?? null
  const source = environments?.find((one) => one.application === application && one.environment === promoted && one.wanted?.revision.commit === revision)
  useTitle(`Deploy ${application} to ${environment}`)
  const { data, error, isFetching } = useQuery(queries.plan(application, environment, revision || undefined))
  const deploy = useMutation({
    mutationFn: () => client().call('deploy', { params: { application, environment }, body: data?.revision.commit ? { revision: data.revision.commit } : {} }),
    onSuccess: (started) => void navigate(`/deployments/${started.number}`),
    onError: sayProblem,
  })
  const command = `dploy deploy ${environment}${revision === '' ? '' : ` --revision ${revision}`}`
  return (
    <>
      <div className="page-head">
        <h1 className="grow">{source ? `Promote ${application} from ${source.environment} to ${environment}` : `Deploy ${application} to ${environment}`}</h1>
      </div>
      <div className="card deploy">
        <Part title="Revision">
          {source?.wanted ? <p>What {source.environment} runs as release {source.wanted.release}: the same artifact, with the variables and secrets of {environment}.</p> : null}
          <RevisionChoice application={application} environment={environment} value={revision} running={running} onChange={(value) => setSearch(value === '' ? {} : { revision: value }, { replace: true })} />
        </Part>
        {error ? <Part title="Problem"><Problem report={error as never} /></Part> : null}
        {!data && !error ? <Part title="Plan"><Skeleton lines={3} /></Part> : null}
        {data ? (
          <>
            <Part title="Changes">
              {data.commitsAhead.length === 0 ? <p className="muted">{data.plan.from === null ? 'The first release here.' : 'No commit that does not run here already.'}</p> : null}
              {data.revision.commit ? <Files application={application} environment={environment} commit={data.revision.commit} count={data.commitsAhead.length} /> : null}
              <ul className="stack commits">{data.commitsAhead.map((commit) => <li key={commit.commit}><RevisionLine revision={commit} /></li>)}</ul>
            </Part>
            <Part title="Plan"><PlanWords plan={data.plan} /></Part>
            <Part title="Before">
              {data.problems.length + data.plan.warnings.length === 0 ? <p className="ok">{data.plan.stage.length === 0 ? 'Nothing was found that stands in the way.' : `All ${data.plan.stage.length} servers answer; nothing stands in the way.`}</p> : null}
              {data.problems.map((problem, index) => <Problem key={index} report={problem} />)}
              {data.plan.warnings.map((warning) => <p key={warning} className="warning">{warning}</p>)}
            </Part>
          </>
        ) : null}
      </div>
      <div className="row wrap deploy-end">
        <CommandLine command={command} />
        <span className="grow" />
        <Link className="button" to="/">Cancel</Link>
        {!may ? <span className="muted">You may look, not deploy here.</span> : <button type="button" className="button primary" data-go disabled={!data || isFetching || deploy.isPending} onClick={() => deploy.mutate()}>{deploy.isPending ? 'Starting…' : `Deploy to ${environment}`}</button>}
      </div>
    </>
  )
}

/** `3 commits, 14 files, 38 KB`. */
function Files({ application, environment, commit, count }: { application: string; environment: string; commit: string; count: number }) {
  const { data } = useQuery(queries.changes(application, environment, commit))
  if (!data?.files || data.files.count === 0) return null
  const { files } = data
  return (
    <details className="changed-files">
      <summary>
        {count > 0 ? `${count === 50 ? '50 or more' : count} ${count === 1 ? 'commit' : 'commits'}, ` : ''}
        {files.count.toLocaleString('en')} {files.count === 1 ? 'file' : 'files'}, {bytes(files.bytes)}
      </summary>
      <ul className="mono">{files.files.map((file) => <li key={file.path} className="cut">{file.change} {file.path}</li>)}</ul>
    </details>
  )
}

function Part({ title, children }: { title: string; children: React.ReactNode }) {
  return (
    <section className="part" aria-label={title}>
      <h2>{title}</h2>
      <div className="grow stack">{children}</div>
    </section>
  )
}

export function PlanWords({ plan }: { plan: Plan }) {
  const count = plan.batches.flat().length
  const lines = [
    count === 0 ? 'No server has to switch: all run it already.' : `${count} ${count === 1 ? 'server' : 'servers'} in ${plan.batches.length} ${plan.batches.length === 1 ? 'batch' : `batches of ${plan.batches[0]!.length}`}; each: ${plan.perServer.join(', ')}.`,
    plan.unchanged.length > 0 ? `${plan.unchanged.length} run it already.` : '',
    plan.releaseCommand ? `Once, on ${plan.releaseCommand.server}: ${plan.releaseCommand.command}` : '',
    plan.canary ? `The first ${plan.batches[0]!.length === 1 ? 'server is' : `${plan.batches[0]!.length} are`} judged for ${duration(plan.canary.duration)}${plan.canary.traffic == null ? '' : `, with ${Math.round(plan.canary.traffic * 100)} % of the traffic`}, before the others follow.` : '',
    plan.bake + plan.bakeBatch > 0 ? `Bake time: ${[plan.bakeBatch > 0 ? `${duration(plan.bakeBatch)} after each batch` : '', plan.bake > 0 ? `${duration(plan.bake)} at the end` : ''].filter(Boolean).join(', ')}.` : '',
  ].filter(Boolean)
  return (
    <>
      {lines.map((line) => <p key={line}>{line}</p>)}
      {count > 0 && count <= 64 ? (
        <ol className="plan-batches" aria-label="Batches">
          {plan.batches.map((batch, index) => <li key={index}><span className="muted">{index + 1}</span> {batch.join(', ')}</li>)}
        </ol>
      ) : null}
    </>
  )
}
