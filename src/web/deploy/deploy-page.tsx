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
import { balancerNames } from '../environment/settings/balancer-names.ts'
import { Changes } from './changes.tsx'
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
              <PlanWords plan={data.plan} balancer={data.balancer} usualMs={data.usualMs} />
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
              : data?.protected
                ? `Ask to deploy to ${environment}`
                : `Deploy to ${environment}`}
          </button>
        )}
      </div>
    </>
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

function PlanWords({ plan, balancer, usualMs }: { plan: Plan; balancer: string; usualMs: number | null }) {
  const count = plan.batches.flat().length
  const lines = [
    count === 0
      ? 'No server has to switch: all run it already.'
      : `${count} ${count === 1 ? 'server' : 'servers'} in ${plan.batches.length} ${plan.batches.length === 1 ? 'batch' : `batches of ${plan.batches[0]!.length}`}; each: ${plan.perServer.join(', ')}${balancer === 'none' ? '' : ` through ${balancerNames[balancer] ?? balancer}`}.`,
    usualMs === null || count === 0 ? '' : `About ${duration(usualMs)}, as the last ones took.`,
    plan.groups && plan.groups.next !== plan.groups.live
      ? `Out of traffic at first; then all traffic goes to ${plan.groups.next} at once, and the other group keeps the release before.`
      : '',
    plan.unchanged.length > 0 ? `${plan.unchanged.length} run it already.` : '',
    plan.releaseCommand ? `Once, on ${plan.releaseCommand.server}: ${plan.releaseCommand.command}` : '',
    plan.canary
      ? `The first ${plan.batches[0]!.length === 1 ? 'server is' : `${plan.batches[0]!.length} are`} judged for ${duration(plan.canary.duration)}${plan.canary.traffic == null ? '' : `, with ${Math.round(plan.canary.traffic * 100)} % of the traffic`}, before the others follow.`
      : '',
    plan.bake + plan.bakeBatch > 0
      ? `Bake time: ${[plan.bakeBatch > 0 ? `${duration(plan.bakeBatch)} after each batch` : '', plan.bake > 0 ? `${duration(plan.bake)} at the end` : ''].filter(Boolean).join(', ')}.`
      : '',
  ].filter(Boolean)
  return (
    <>
      {lines.map((line) => (
        <p key={line}>{line}</p>
      ))}
      {count > 0 && count <= 64 ? (
        <ol className="plan-batches" aria-label="Batches">
          {plan.batches.map((batch, index) => (
            <li key={index}>
              <span className="muted">{index + 1}</span> {batch.join(', ')}
            </li>
          ))}
        </ol>
      ) : null}
    </>
  )
}
