import { createHash } from 'node:crypto'
import type { NotifyEntry } from '../../protocol/config/notify.ts'
import type { Environment } from '../store/applications.ts'
import { statusMoments } from './commit-status.ts'
import type { Notification } from './notification.ts'

/** An entry of `notify` for one environment. */
export interface NotifyTarget {
  entry: NotifyEntry
  /** The same for the same entry: one that was changed is another. */
  key: string
  /** For people; holds no secret. */
  name: string
}

/** The entries of `notify` that are about an environment. */
export function targetsOf(environment: Environment): NotifyTarget[] {
  // A dploy.yml that was stored before there were notifications has none.
  const entries = (environment.config.notify as NotifyEntry[] | undefined) ?? []
  const own = entries.filter(
    (entry) => entry.environments === undefined || entry.environments.includes(environment.name),
  )
  const seen = new Map(own.map((entry) => [keyOf(entry), entry]))
  return [...seen].map(([key, entry]) => ({ entry, key, name: nameOf(entry) }))
}

/** Whether an entry wants to be told of a moment. What converges by itself is told of when it fails, and sets no status. */
export function wants(entry: NotifyEntry, told: Notification): boolean {
  const { moment, deployment } = told
  if (moment === 'test') return true
  if (
    deployment?.kind === 'converge' &&
    (entry.kind === 'commit_status' || (moment !== 'failed' && moment !== 'rolled_back'))
  )
    return false
  if (entry.kind === 'commit_status')
    return deployment?.kind === 'deploy' && deployment.revision?.commit != null && statusMoments.includes(moment)
  return entry.on.includes(moment)
}

/** Of where it goes and with which secret; not of which moments, so that these can be changed. */
function keyOf(entry: NotifyEntry): string {
  const { environments: _, ...rest } = entry
  const { on: __, ...place } = rest as typeof rest & { on?: unknown }
  return createHash('sha256').update(JSON.stringify(place)).digest('hex').slice(0, 24)
}

function nameOf(entry: NotifyEntry): string {
  switch (entry.kind) {
    case 'slack':
      return `slack (${entry.secret})`
    case 'webhook':
      return `webhook to ${new URL(entry.url).host}`
    case 'email':
      return `e-mail to ${entry.to.join(', ')}`
    case 'commit_status':
      return `commit status at ${entry.service === 'github' ? 'GitHub' : 'GitLab'}`
    default:
      return entry satisfies never
  }
}
