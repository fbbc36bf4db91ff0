import { randomBytes } from 'node:crypto'
import * as z from 'zod'
import { isNoCommit, type Message } from '../push.ts'
import { hmacHex, sameText } from '../signature.ts'
import type { Service } from './service.ts'

const name = z.string().max(1_000)
/** Bitbucket Cloud: https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#Push */
const cloudSchema = z.object({
  actor: z.object({ nickname: name.optional(), display_name: name.optional() }).nullish(),
  repository: z.object({
    full_name: name,
    links: z.object({ html: z.object({ href: name }) }).optional(),
    mainbranch: z.object({ name }).nullish(),
  }),
  push: z.object({
    changes: z
      .array(
        z.object({
          new: z.object({ type: name, name, target: z.object({ hash: name }) }).nullable(),
          old: z.object({ type: name, name, target: z.object({ hash: name }).optional() }).nullish(),
        }),
      )
      .max(10_000),
  }),
})
/** Bitbucket Data Center: https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html */
const dataCenterSchema = z.object({
  actor: z.object({ name: name.optional(), displayName: name.optional() }).nullish(),
  repository: z.object({
    slug: name,
    project: z.object({ key: name }),
    links: z.object({ clone: z.array(z.object({ href: name })).optional() }).optional(),
  }),
  changes: z
    .array(
      z.object({ ref: z.object({ displayId: name, type: name }), fromHash: name.optional(), toHash: name, type: name }),
    )
    .max(10_000),
})

/** Bitbucket Cloud and Data Center: https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/#Secure-webhooks */
export const bitbucket: Service = {
  title: 'Bitbucket',
  newSecret: () => randomBytes(32).toString('hex'),
  isSigned: (secret, headers, body) => sameText(headers['x-hub-signature'] ?? '', `sha256=${hmacHex(secret, body)}`),
  deliveryOf: (headers) => headers['x-request-uuid'] ?? headers['x-request-id'] ?? null,
  eventOf: (headers) => headers['x-event-key'] ?? '',
  read(event, payload) {
    if (event === 'diagnostics:ping') return { nothing: 'a ping: the webhook works' }
    if (event === 'repo:push') return ofCloud(payload)
    if (event === 'repo:refs_changed') return ofDataCenter(payload)
    return { nothing: `the event ${event} is no push` }
  },
}

function ofCloud(payload: unknown): Message {
  const { actor, repository, push } = cloudSchema.parse(payload)
  const branches = push.changes.flatMap(({ new: now, old }) =>
    now?.type === 'branch' && now.target.hash !== old?.target?.hash
      ? [{ name: now.name, commit: now.target.hash }]
      : [],
  )
  if (branches.length === 0)
    return {
      nothing: nothingIn(
        push.changes.map(({ new: now, old }) => ({
          name: (now ?? old)?.name ?? '',
          type: (now ?? old)?.type ?? '',
          deleted: now === null,
        })),
      ),
    }
  const { html } = repository.links ?? {}
  return {
    push: {
      repository: {
        urls: html === undefined ? [] : [html.href],
        path: html === undefined ? repository.full_name : null,
        name: repository.full_name,
        defaultBranch: repository.mainbranch?.name ?? null,
      },
      branches,
      by: actor?.nickname ?? actor?.display_name ?? 'somebody',
    },
  }
}

function ofDataCenter(payload: unknown): Message {
  const { actor, repository, changes } = dataCenterSchema.parse(payload)
  const branches = changes.flatMap(({ ref, fromHash, toHash, type }) =>
    ref.type === 'BRANCH' && type !== 'DELETE' && !isNoCommit(toHash) && fromHash !== toHash
      ? [{ name: ref.displayId, commit: toHash }]
      : [],
  )
  if (branches.length === 0)
    return {
      nothing: nothingIn(
        changes.map(({ ref, type }) => ({
          name: ref.displayId,
          type: ref.type.toLowerCase(),
          deleted: type === 'DELETE',
        })),
      ),
    }
  const path = `${repository.project.key}/${repository.slug}`
  const urls = (repository.links?.clone ?? []).map(({ href }) => href)
  return {
    push: {
      repository: { urls, path: urls.length === 0 ? path : null, name: path, defaultBranch: null },
      branches,
      by: actor?.name ?? actor?.displayName ?? 'somebody',
    },
  }
}

function nothingIn(changes: { name: string; type: string; deleted: boolean }[]): string {
  const [first] = changes
  if (!first) return 'the push is empty'
  return first.type !== 'branch'
    ? `${first.name} is no branch`
    : first.deleted
      ? `the branch ${first.name} was deleted`
      : `nothing new came to the branch ${first.name}`
}
