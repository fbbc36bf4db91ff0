import type { Moment } from '../../protocol/config/notify.ts'
import { placeOf } from '../webhooks/repository.ts'
import { headline } from './notification.ts'
import { Undelivered, type Sender } from './sender.ts'

const githubStates: Partial<Record<Moment, string>> = {
  waiting_for_approval: 'pending',
  started: 'pending',
  succeeded: 'success',
  failed: 'failure',
  rolled_back: 'failure',
  cancelled: 'error',
}
const gitlabStates: Partial<Record<Moment, string>> = {
  waiting_for_approval: 'pending',
  started: 'running',
  succeeded: 'success',
  failed: 'failed',
  rolled_back: 'failed',
  cancelled: 'canceled',
}

/** The moments that set a status. */
export const statusMoments = Object.keys(githubStates) as Moment[]

/** Longest description that GitHub takes (docs.github.com, "Create a commit status"). Characters. */
const longest = 140

/** A status at the deployed commit, under the name `dploy/ENVIRONMENT`. */
export const sendCommitStatus: Sender<'commit_status'> = async ({ told, entry, secret, source }) => {
  if (secret === null) throw new Undelivered('its secret is not set')
  const commit = told.deployment?.revision?.commit ?? null
  const moment = told.moment === 'test' ? null : told.moment
  // What was uploaded, or is an earlier release, is no commit to mark.
  if (commit === null || moment === null) return
  const repository = entry.repository ?? placeOf(source)?.path
  if (repository === undefined || !repository.includes('/'))
    throw new Undelivered('the repository is not known: give repository under notify', 'never')
  const { post } = await import('./post.ts')
  const name = `dploy/${told.environment}`
  const description = headline(told).slice(0, longest)
  const link = told.deployment?.url ?? null
  switch (entry.service) {
    case 'github': {
      const path = repository.split('/').map(encodeURIComponent).join('/')
      const body = {
        state: githubStates[moment],
        context: name,
        description,
        ...(link === null ? {} : { target_url: link }),
      }
      await post(
        `${baseOf(entry.api ?? 'https://api.github.com')}/repos/${path}/statuses/${commit}`,
        {
          accept: 'application/vnd.github+json',
          'x-github-api-version': '2022-11-28',
          authorization: `Bearer ${secret}`,
        },
        JSON.stringify(body),
      )
      return
    }
    case 'gitlab': {
      const body = { state: gitlabStates[moment], name, description, ...(link === null ? {} : { target_url: link }) }
      // It refuses to go from a state to the same one, which is what a message that comes twice asks for.
      await post(
        `${baseOf(entry.api ?? 'https://gitlab.com/api/v4')}/projects/${encodeURIComponent(repository)}/statuses/${commit}`,
        { 'private-token': secret },
        JSON.stringify(body),
        (status, answer) => status === 400 && answer.includes('Cannot transition status'),
      )
      return
    }
    default:
      entry.service satisfies never
  }
}

function baseOf(api: string): string {
  return api.replace(/\/+$/, '')
}
