import { randomBytes } from 'node:crypto'
import * as z from 'zod'
import { branchOf, isNoCommit } from '../push.ts'
import { sameText, standardPrefix, standardSignature } from '../signature.ts'
import type { Service } from './service.ts'

const name = z.string().max(1_000)
/** https://docs.gitlab.com/user/project/integrations/webhook_events/#push-events */
const pushSchema = z.object({
  ref: name,
  before: z.string().optional(),
  after: z.string().regex(/^[0-9a-f]{40,64}$/),
  user_username: name.optional(),
  user_name: name.optional(),
  project: z.object({
    path_with_namespace: name,
    git_http_url: name.optional(),
    git_ssh_url: name.optional(),
    web_url: name.optional(),
    default_branch: name.nullish(),
  }),
})

/** How far the time of a signed message may be from now: what was overheard is of no use later. Milliseconds. */
const tolerance = 5 * 60_000

/**
 * GitLab: signs as Standard Webhooks does where it has a signing token (https://docs.gitlab.com/user/project/integrations/webhooks/),
 * else sends its secret token itself. One secret serves as either. A message with a signature is judged by that alone.
 */
export const gitlab: Service = {
  title: 'GitLab',
  newSecret: () => `${standardPrefix}${randomBytes(32).toString('base64')}`,
  isSigned(secret, headers, body, now) {
    const signatures = headers['webhook-signature']
    if (signatures === undefined) return sameText(headers['x-gitlab-token'] ?? '', secret)
    const seconds = headers['webhook-timestamp'] ?? ''
    if (!/^\d{1,12}$/.test(seconds) || Math.abs(now - Number(seconds) * 1_000) > tolerance) return false
    const right = standardSignature(secret, headers['webhook-id'] ?? '', seconds, body)
    return (
      signatures
        .split(' ')
        .slice(0, 20)
        .filter((one) => sameText(one, right)).length > 0
    )
  },
  deliveryOf: (headers) =>
    headers['webhook-id'] ?? headers['idempotency-key'] ?? headers['x-gitlab-event-uuid'] ?? null,
  eventOf: (headers) => headers['x-gitlab-event'] ?? '',
  read(event, payload) {
    // A webhook of the whole instance says "System Hook" for all events, and names them in the body.
    const system = event === 'System Hook' && (payload as { object_kind?: unknown } | null)?.object_kind === 'push'
    if (event !== 'Push Hook' && !system) return { nothing: `the event ${event} is no push` }
    const { ref, before, after, user_username, user_name, project } = pushSchema.parse(payload)
    const branch = branchOf(ref)
    if (branch === null) return { nothing: `${ref} is no branch` }
    if (isNoCommit(after)) return { nothing: `the branch ${branch} was deleted` }
    if (before === after) return { nothing: `nothing new came to the branch ${branch}` }
    return {
      push: {
        repository: {
          urls: [project.git_http_url, project.git_ssh_url, project.web_url].filter((url) => url !== undefined),
          path: null,
          name: project.path_with_namespace,
          defaultBranch: project.default_branch ?? null,
        },
        branches: [{ name: branch, commit: after }],
        by: user_username ?? user_name ?? 'somebody',
      },
    }
  },
}
