import { useMutation, useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearchParams } from 'react-router'
import { queries } from '../api/queries.ts'
import { useMay } from '../api/rights.ts'
import { client } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Skeleton } from '../components/empty.tsx'
import { Problem } from '../components/problem.tsx'
import { RevisionLine } from '../components/revision.tsx'
import { sayProblem } from '../components/toasts.tsx'
import { useTitle } from '../shell/use-title.ts'
import { Changes, type Preview } from './changes.tsx'
import { PlanWords } from './plan-words.tsx'
import { Preflight } from './preflight.tsx'
import { RevisionChoice } from './revision-choice.tsx'
import './deploy.css'

/** What a deployment would change, before it does: the revision, the commits, the plan, what stands in its way; one button. */
export default function DeployPage() {
  const { application = '', environment = '' } = useParams()
  const [search, setSearch] = useSearchParams()
  const revision = search.get('revision') ?? ''
  const promote = search.get('promote') ?? undefined
  const navigate = useNavigate()
  const may = useMay('deploy', { application, environment })
  const { data: environments } = useQuery(queries.environments())
  const running =
    environments?.find((one) => one.application === application && one.environment === environment)?.wanted?.revision
      .commit ?? null
  const title =
    promote === undefined
      ? `Deploy ${application} to ${environment}`
      : `Promote ${application} from ${promote} to ${environment}`
  useTitle(title)
  const { data, error, isFetching } = useQuery(queries.plan(application, environment, revision || undefined, promote))
  const deploy = useMutation({
    // What was looked at is what is deployed, also when the branch or the other environment moves on.
    mutationFn: () =>
      client().call('deploy', {
        params: { application, environment },
        body: data?.promoted
          ? { promote: data.promoted }
          : data?.revision.commit
            ? { revision: data.revision.commit }
            : {},
      }),
    onSuccess: (started) => void navigate(`/deployments/${started.number}`),
    onError: sayProblem,
  })
  const command = `dploy deploy ${environment}${promote !== undefined ? ` --promote ${promote}` : revision === '' ? '' : ` --revision ${revision}`}`
  return (
    <>
      <div className="page-head">
        <h1 className="grow">{title}</h1>
      </div>
      <div className="card deploy">
        <Part title="Revision">
          {promote === undefined ? (
            <RevisionChoice
              application={application}
              environment={environment}
              value={revision}
              resolved={data?.revision ?? null}
              running={running}
              onChange={(value) => setSearch(value === '' ? {} : { revision: value }, { replace: true })}
            />
          ) : (
            <>
              {data ? <RevisionLine revision={data.revision} /> : null}
              <p>
                What {promote} runs{data?.promoted ? ` as release ${data.promoted.release}` : ''}: the same artifact,
                with the variables and secrets of {environment}.
              </p>
              <div className="row">
                <Link className="button small" to="?" replace>
                  Choose a revision instead
                </Link>
              </div>
            </>
          )}
        </Part>
        {error ? (
          <Part title="Problem">
            <Problem report={error as never} />
          </Part>
        ) : null}
        {!data && !error ? (
          <Part title="Plan">
            <Skeleton lines={3} />
          </Part>
        ) : null}
        {data ? (
          <>
            <Part title="Changes">
              <Changes application={application} environment={environment} preview={data} />
            </Part>
            <Part title="Plan">
              <PlanWords preview={data} />
            </Part>
            <Part title="Before">
              <Preflight application={application} environment={environment} preview={data} />
            </Part>
          </>
        ) : null}
      </div>
      <div className="row wrap deploy-end">
        <CommandLine command={command} />
        <span className="grow" />
        <Link className="button" to="/">
          Cancel
        </Link>
        {!may ? (
          <span className="muted">You may look, not deploy here.</span>
        ) : (
          <button
            type="button"
            className="button primary"
            data-go
            disabled={!data || isFetching || deploy.isPending}
            onClick={() => deploy.mutate()}
          >
            {deploy.isPending
              ? 'Starting…'
              : `${data?.protected ? 'Ask to deploy' : 'Deploy'} ${nameOf(data)}to ${environment}${data && data.problems.length > 0 ? ' anyway' : ''}`}
          </button>
        )}
      </div>
    </>
  )
}

/** What the button deploys: the release that is promoted, or the commit. */
function nameOf(preview: Preview | undefined): string {
  if (preview?.promoted) return `release ${preview.promoted.release} of ${preview.promoted.environment} `
  return preview?.revision.commit ? `${preview.revision.commit.slice(0, 7)} ` : ''
}

function Part({ title, children }: { title: string; children: React.ReactNode }) {
  return (
    <section className="part" aria-label={title}>
      <h2>{title}</h2>
      <div className="grow stack">{children}</div>
    </section>
  )
}
