import { randomBytes } from 'node:crypto'
import * as z from 'zod'
import { branchOf, isNoCommit, type Message } from '../push.ts'
import { hmacHex, sameText } from '../signature.ts'
import type { Service } from './service.ts'

const name = z.string().max(1_000)
/** https://docs.github.com/en/webhooks/webhook-events-and-payloads#push; Gitea and Forgejo send the same fields. */
export const pushSchema = z.object({
  ref: name,
  after: z.string().regex(/^[0-9a-f]{40,64}$/),
  before: z.string().optional(),
  deleted: z.boolean().optional(),
  repository: z.object({
    full_name: name,
    clone_url: name.optional(),
    ssh_url: name.optional(),
    git_url: name.optional(),
    html_url: name.optional(),
    default_branch: name.optional(),
  }),
  pusher: z.object({ name: name.optional(), login: name.optional(), username: name.optional() }).nullish(),
})

/** GitHub: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries */
export const github: Service = {
  title: 'GitHub',
  newSecret: () => randomBytes(32).toString('hex'),
  isSigned: (secret, headers, body) =>
    sameText(headers['x-hub-signature-256'] ?? '', `sha256=${hmacHex(secret, body)}`),
  deliveryOf: (headers) => headers['x-github-delivery'] ?? null,
  eventOf: (headers) => headers['x-github-event'] ?? '',
  read: (event, payload) =>
    event === 'ping'
      ? { nothing: 'a ping: the webhook works' }
      : event === 'push'
        ? pushOf(payload)
        : { nothing: `the event ${event} is no push` },
}

/** A push as GitHub, Gitea and Forgejo word it. */
export function pushOf(payload: unknown): Message {
  const { ref, after, before, deleted, repository, pusher } = pushSchema.parse(payload)
  const branch = branchOf(ref)
  if (branch === null) return { nothing: `${ref} is no branch` }
  if (deleted === true || isNoCommit(after)) return { nothing: `the branch ${branch} was deleted` }
  if (before === after) return { nothing: `nothing new came to the branch ${branch}` }
  return {
    push: {
      repository: {
        urls: [repository.clone_url, repository.ssh_url, repository.git_url, repository.html_url].filter(
          (url) => url !== undefined,
        ),
        path: null,
        name: repository.full_name,
        defaultBranch: repository.default_branch ?? null,
      },
      branches: [{ name: branch, commit: after }],
      by: pusher?.login ?? pusher?.username ?? pusher?.name ?? 'somebody',
    },
  }
}
