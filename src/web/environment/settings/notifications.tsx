import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import type { NotifyTargetView } from '../../../protocol/api/notifications.ts'
import { queries } from '../../api/queries.ts'
import { useMay } from '../../api/rights.ts'
import { client } from '../../api/session.ts'
import { CommandLine } from '../../components/command-line.tsx'
import { Empty, Skeleton } from '../../components/empty.tsx'
import { Problem } from '../../components/problem.tsx'
import { State, type Tone } from '../../components/state.tsx'
import { Ago } from '../../components/time.tsx'
import { sayProblem, toasts } from '../../components/toasts.tsx'

const tones: Record<NotifyTargetView['state'], Tone> = { new: 'idle', working: 'good', failing: 'bad', disabled: 'bad' }

/** Who is told of deployments, whether it arrives, and a button that sends a test. */
export function Notifications({ application, environment }: { application: string; environment: string }) {
  const params = { application, environment }
  const { data, error } = useQuery(queries.notifications(application, environment))
  const administers = useMay('administer', params)
  const queryClient = useQueryClient()
  const test = useMutation({
    mutationFn: (target: NotifyTargetView) =>
      client().call('testNotification', { params: { ...params, key: target.key } }),
    onSuccess: (target) => toasts.add({ title: 'The test arrived', description: target.name }),
    onError: sayProblem,
    onSettled: () => queryClient.invalidateQueries({ queryKey: ['notifications'] }),
  })
  return (
    <section className="card" aria-label="Who is told">
      <header className="wraps">
        <h2 className="grow">Notifications</h2>
        <CommandLine command={`dploy notify test ${environment}`} />
      </header>
      {error && !data ? (
        <div className="body">
          <Problem report={error as never} />
        </div>
      ) : !data ? (
        <div className="body">
          <Skeleton lines={2} />
        </div>
      ) : data.length === 0 ? (
        <Empty title="Nobody is told">
          <p>Name Slack, a webhook, e-mail or a commit status in dploy.yml under notify, and deploy or plan once.</p>
          <CommandLine command="notify: [{ kind: slack, secret: SLACK_ADDRESS }]" label="A line for dploy.yml" />
        </Empty>
      ) : (
        <div className="table-box" role="region" aria-label="Who is told, of what" tabIndex={0}>
          <table className="table">
            <thead>
              <tr>
                <th>Who</th>
                <th>Of what</th>
                <th>Arrives</th>
                <th>
                  <span className="hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {data.map((target) => (
                <tr key={target.key}>
                  <td>
                    <strong>{target.name}</strong>
                  </td>
                  <td className="muted">{target.on.map((one) => one.replaceAll('_', ' ')).join(', ')}</td>
                  <td>
                    <Arrives target={target} />
                  </td>
                  <td>
                    <span className="actions">
                      {administers && target.kind !== 'commit_status' ? (
                        <button
                          type="button"
                          className="button small"
                          disabled={test.isPending}
                          aria-label={`Send a test: ${target.name}`}
                          onClick={() => test.mutate(target)}
                        >
                          {test.isPending && test.variables.key === target.key ? 'Sending…' : 'Send a test'}
                        </button>
                      ) : null}
                    </span>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}

function Arrives({ target }: { target: NotifyTargetView }) {
  return (
    <span className="stack">
      <State tone={tones[target.state]}>
        {target.state === 'new' ? 'nothing sent yet' : target.state === 'working' ? 'works' : target.state}
      </State>
      {target.deliveredAt === null ? null : (
        <span className="muted">
          arrived <Ago at={target.deliveredAt} />
        </span>
      )}
      {target.reason !== null && (target.state === 'failing' || target.state === 'disabled') ? (
        <span className="muted">{target.reason}</span>
      ) : null}
      {target.waiting > 0 ? <span className="muted">{target.waiting} wait to be sent</span> : null}
    </span>
  )
}
