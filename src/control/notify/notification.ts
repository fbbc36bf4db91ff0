import type { Moment } from '../../protocol/config/notify.ts'
import type { DeploymentKind } from '../../protocol/deployment.ts'

/** What is told, as it was when it happened. `test`: a person tries whether it arrives. */
export interface Notification {
  moment: Moment | 'test'
  application: string
  environment: string
  /** Epoch milliseconds. */
  at: number
  deployment: {
    number: number
    kind: DeploymentKind
    requestedBy: string
    revision: { commit: string | null; ref: string | null; subject: string; author: string } | null
    /** Numbers of the release and of the one before. */
    release: number | null
    from: number | null
    /** From its start to `at`; null: it has not begun. */
    seconds: number | null
    failure: { code: string; message: string; fix: string } | null
    /** Its page; null where nobody knows the address. */
    url: string | null
  } | null
  /** The one that is gone. `since` in epoch milliseconds. */
  server: { name: string; since: number } | null
  /** Who tries it. */
  by: string | null
}

/** One line for people, without mark-up. */
export function headline(told: Notification): string {
  const place = `${told.application}/${told.environment}`
  const { deployment, server } = told
  if (told.moment === 'test') return `${place}: a test by ${told.by ?? 'somebody'}. Notifications arrive here.`
  if (server) return `${place}: the server ${server.name} is gone since ${clock(server.since)}`
  if (!deployment) return place
  const what =
    deployment.kind === 'rollback'
      ? `rollback${deployment.release === null ? '' : ` to release ${deployment.release}`}`
      : `deployment ${deployment.number}`
  const how = {
    started: 'started',
    succeeded: `succeeded${deployment.seconds === null ? '' : ` in ${deployment.seconds.toFixed(1)} s`}`,
    failed: 'failed',
    rolled_back: 'failed and was rolled back',
    cancelled: 'was cancelled',
    waiting_for_approval: 'waits for approval',
    server_gone: '',
  }[told.moment]
  return `${place}: ${what} by ${deployment.requestedBy} ${how}`
}

/** Further lines for people, without mark-up: what was deployed, why it failed, what to do next. */
export function details(told: Notification): string[] {
  const { deployment, server } = told
  if (server)
    return [
      'Its agent is not connected. It converges when it returns.',
      'Next: systemctl status dploy-agent there, or dploy doctor',
    ]
  if (!deployment) return []
  const { revision, failure, number, url } = deployment
  return [
    ...(revision
      ? [
          `${revision.commit === null ? '' : `${revision.commit.slice(0, 8)} `}${revision.subject} (${revision.author}${revision.ref === null ? '' : `, ${revision.ref}`})`,
        ]
      : []),
    ...(failure && told.moment !== 'cancelled'
      ? [failure.message, `Next: ${failure.fix}`]
      : failure
        ? [failure.message]
        : []),
    ...(told.moment === 'waiting_for_approval' ? [`Another person approves it: dploy approve ${number}`] : []),
    ...(url === null ? [] : [url]),
  ]
}

/** Time of day in UTC. */
function clock(at: number): string {
  return `${new Date(at).toISOString().slice(11, 16)} UTC`
}
