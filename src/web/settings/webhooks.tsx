import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Fragment, useState } from 'react'
import { Link } from 'react-router'
import { webhookServiceSchema, type Delivery, type Webhook, type WebhookService } from '../../protocol/api/webhooks.ts'
import { queries } from '../api/queries.ts'
import { client } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Confirm } from '../components/confirm.tsx'
import { Empty, Skeleton } from '../components/empty.tsx'
import { Problem } from '../components/problem.tsx'
import { State, type Tone } from '../components/state.tsx'
import { Ago } from '../components/time.tsx'
import { sayProblem } from '../components/toasts.tsx'
import { useTitle } from '../shell/use-title.ts'
import { Once } from './once.tsx'

const names: Record<WebhookService, string> = {
  github: 'GitHub',
  gitlab: 'GitLab',
  bitbucket: 'Bitbucket',
  gitea: 'Gitea or Forgejo',
}
const tones: Record<Delivery['state'], Tone> = { waiting: 'busy', done: 'good', ignored: 'idle', failed: 'bad' }

/** Pushes that deploy: what to tell the service, and what it sent. */
export default function Webhooks() {
  useTitle('Webhooks')
  const { data, error } = useQuery(queries.webhooks())
  const queryClient = useQueryClient()
  const [service, setService] = useState<WebhookService>('github')
  const [note, setNote] = useState('')
  const [application, setApplication] = useState('')
  const { data: environments } = useQuery(queries.environments())
  const applications = [...new Set((environments ?? []).map((one) => one.application))]
  const settled = { onError: sayProblem, onSettled: () => queryClient.invalidateQueries({ queryKey: ['webhooks'] }) }
  const add = useMutation({
    mutationFn: () => client().call('addWebhook', { body: { service, note, application: application || null } }),
    ...settled,
  })
  const remove = useMutation({
    mutationFn: (webhook: Webhook) => client().call('removeWebhook', { params: { webhook: webhook.id } }),
    ...settled,
  })
  const [open, setOpen] = useState<string | null>(null)
  if (error && !data) return <Problem report={error as never} />
  if (!data) return <Skeleton lines={4} />
  return (
    <div className="stack wide">
      <form
        className="card form"
        aria-label="Add a webhook"
        onSubmit={(event) => (event.preventDefault(), add.mutate())}
      >
        <div className="field">
          <label htmlFor="hook-service">Where the repository is</label>
          <select
            id="hook-service"
            className="input"
            value={service}
            onChange={(event) => setService(event.target.value as WebhookService)}
          >
            {webhookServiceSchema.options.map((one) => (
              <option key={one} value={one}>
                {names[one]}
              </option>
            ))}
          </select>
        </div>
        <div className="field">
          <label htmlFor="hook-application">Deploys</label>
          <select
            id="hook-application"
            className="input"
            value={application}
            onChange={(event) => setApplication(event.target.value)}
          >
            <option value="">what has its source there</option>
            {applications.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </div>
        <div className="field">
          <label htmlFor="hook-note">Note</label>
          <input
            id="hook-note"
            className="input"
            maxLength={200}
            value={note}
            onChange={(event) => setNote(event.target.value)}
          />
        </div>
        <div className="actions">
          <button type="submit" className="button primary" disabled={add.isPending}>
            Add webhook
          </button>
        </div>
        <CommandLine
          command={`dploy webhook add ${service} ${application === '' ? '--all' : `--application ${application}`}${note === '' ? '' : ` --note ${JSON.stringify(note)}`}`}
        />
      </form>
      {add.data ? (
        <Once
          title={`Give ${names[add.data.webhook.service]} this secret; it is not shown again`}
          value={add.data.secret}
        >
          <p>and this address, content type application/json, for pushes:</p>
          <CommandLine label="The webhook’s address" command={addressOf(add.data.webhook)} />
        </Once>
      ) : null}
      {data.length === 0 ? (
        <Empty title="No webhook yet">
          <p>
            With one, a push to an environment’s branch deploys it, where dploy.yml says so. Add one above, and give its
            address and secret to your repository’s settings.
          </p>
        </Empty>
      ) : (
        <div className="card table-box">
          <table className="table">
            <thead>
              <tr>
                <th>Webhook</th>
                <th>Address</th>
                <th>What came last</th>
                <th>
                  <span className="hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {data.map((webhook) => (
                <Fragment key={webhook.id}>
                  <tr>
                    <td>
                      <span className="stack">
                        <strong>{names[webhook.service]}</strong>
                        <span className="muted">{webhook.note || webhook.application || 'all applications'}</span>
                      </span>
                    </td>
                    <td className="mono audit-change hook-address">{addressOf(webhook)}</td>
                    <td>
                      {webhook.last ? (
                        <DeliveryLine delivery={webhook.last} />
                      ) : (
                        <span className="muted">nothing yet</span>
                      )}
                    </td>
                    <td>
                      <span className="actions">
                        <button
                          type="button"
                          className="button small"
                          aria-expanded={open === webhook.id}
                          onClick={() => setOpen(open === webhook.id ? null : webhook.id)}
                        >
                          Deliveries
                        </button>
                        <Confirm
                          trigger={
                            <button type="button" className="button small">
                              Remove
                            </button>
                          }
                          title={`Remove the webhook of ${names[webhook.service]}?`}
                          action="Remove the webhook"
                          danger
                          command={`dploy webhook remove ${webhook.id}`}
                          onConfirm={() => remove.mutate(webhook)}
                        >
                          <p>Pushes told to its address are refused from now on.</p>
                        </Confirm>
                      </span>
                    </td>
                  </tr>
                  {open === webhook.id ? (
                    <tr>
                      <td colSpan={4}>
                        <div className="stack wide">
                          <Rehearse webhook={webhook.id} />
                          <Deliveries webhook={webhook.id} />
                        </div>
                      </td>
                    </tr>
                  ) : null}
                </Fragment>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  )
}

const addressOf = (webhook: Webhook) => new URL(webhook.url, location.origin).href

/** What came, each with a button that works through it once more. */
function Deliveries({ webhook }: { webhook: string }) {
  const { data } = useQuery(queries.deliveries(webhook))
  const queryClient = useQueryClient()
  const redeliver = useMutation({
    mutationFn: (delivery: string) => client().call('redeliver', { params: { webhook, delivery } }),
    onError: sayProblem,
    onSettled: () =>
      Promise.all([
        queryClient.invalidateQueries({ queryKey: ['deliveries'] }),
        queryClient.invalidateQueries({ queryKey: ['webhooks'] }),
      ]),
  })
  if (!data) return <Skeleton lines={2} />
  if (data.length === 0)
    return <p className="muted">Nothing has come yet. Most services have a button that sends a test.</p>
  return (
    <ul className="stack deliveries">
      {data.map((one) => (
        <li key={one.id} className="row">
          <span className="grow">
            <DeliveryLine delivery={one} />
          </span>
          {one.branches.length > 0 && one.state !== 'waiting' ? (
            <Confirm
              trigger={
                <button type="button" className="button small" disabled={redeliver.isPending}>
                  Redeliver
                </button>
              }
              title="Work through this push once more?"
              action="Redeliver"
              command={`dploy webhook redeliver ${webhook} ${one.id}`}
              onConfirm={() => redeliver.mutate(one.id)}
            >
              <p>
                As if it came now: the environments that follow {one.branches.join(', ')} are deployed, as the branch is
                when it begins. You count as who asked for it.
              </p>
            </Confirm>
          ) : null}
        </li>
      ))}
    </ul>
  )
}

/** What a push would start, without starting it. */
function Rehearse({ webhook }: { webhook: string }) {
  const [branch, setBranch] = useState('main')
  const rehearse = useMutation({
    mutationFn: () => client().call('testWebhook', { params: { webhook }, body: { branch } }),
    onError: sayProblem,
  })
  const results = rehearse.data?.results
  return (
    <form
      className="stack"
      aria-label="Rehearse a push"
      onSubmit={(event) => (event.preventDefault(), rehearse.mutate())}
    >
      <div className="row wrap">
        <label htmlFor={`rehearse-${webhook}`}>What would a push start to</label>
        <input
          id={`rehearse-${webhook}`}
          className="input small mono branch-name"
          required
          maxLength={500}
          pattern="\S+"
          value={branch}
          onChange={(event) => (setBranch(event.target.value), rehearse.reset())}
        />
        <button type="submit" className="button small" disabled={rehearse.isPending}>
          Rehearse
        </button>
        <CommandLine command={`dploy webhook test ${webhook} ${branch || 'main'}`} />
      </div>
      <div role="status">
        <ul className="stack">
          {results?.length === 0 ? (
            <li className="muted">
              Nothing: no application has that source. For a source that is a path, make the webhook for that
              application.
            </li>
          ) : null}
          {results?.map((one) => (
            <li key={`${one.application} ${one.environment}`} className="row wrap">
              <State tone={one.deploys ? 'good' : 'idle'}>
                {one.application} → {one.environment} {one.deploys ? 'would be deployed' : 'stays as it is'}
              </State>
              <span className="muted">{one.reason}</span>
            </li>
          ))}
        </ul>
      </div>
    </form>
  )
}

function DeliveryLine({ delivery }: { delivery: Delivery }) {
  return (
    <span className="stack">
      <span className="row wrap">
        <State tone={tones[delivery.state]}>{delivery.state}</State>
        <span>
          {delivery.event} {delivery.branches.join(', ')}
        </span>
        {delivery.againBy === null ? null : <span className="tag">again, by {delivery.againBy}</span>}
        <span className="muted">
          <Ago at={delivery.receivedAt} />
        </span>
      </span>
      {delivery.reason ? <span className="muted">{delivery.reason}</span> : null}
      {delivery.results.map((one) => (
        <span key={`${one.application} ${one.environment}`} className="muted">
          {one.application} → {one.environment}:{' '}
          {one.deployment === null ? (
            one.reason
          ) : (
            <Link to={`/deployments/${one.deployment}`}>deployment {one.deployment}</Link>
          )}
        </span>
      ))}
    </span>
  )
}
