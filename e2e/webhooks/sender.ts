import { createHmac, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'

export type Payload = Record<string, unknown>

/** A message as a service publishes it, with these values in place of its own. */
export function payloadOf(name: string, changes: Payload = {}): Payload {
  return {
    ...(JSON.parse(readFileSync(new URL(`fixtures/${name}.json`, import.meta.url), 'utf8')) as Payload),
    ...changes,
  }
}

/** GitHub's push with another repository, branch and commit in it. */
export function githubPush(repository: string, branch: string, commit: string): Payload {
  const push = payloadOf('github-push')
  return {
    ...push,
    ref: `refs/heads/${branch}`,
    after: commit,
    repository: { ...(push.repository as Payload), clone_url: repository },
  }
}

/** Sends as GitHub does. `secret` is what it signs with. */
export async function sendAsGithub(
  url: string,
  secret: string,
  payload: Payload,
  options: { event?: string; delivery?: string } = {},
): Promise<{ status: number; body: { state?: string; reason?: string; code?: string } }> {
  const body = JSON.stringify(payload)
  const response = await fetch(url, {
    method: 'POST',
    body,
    headers: {
      'content-type': 'application/json',
      'user-agent': 'GitHub-Hookshot/0000000',
      'x-github-event': options.event ?? 'push',
      'x-github-delivery': options.delivery ?? randomUUID(),
      'x-hub-signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
    },
    signal: AbortSignal.timeout(10_000),
  })
  return {
    status: response.status,
    body: (await response.json()) as { state?: string; reason?: string; code?: string },
  }
}

/** How each service sends: its fixture with this branch and commit in it, and its headers, signed in its own way. */
export const senders: Record<
  string,
  {
    service: string
    title: string
    payload: string
    at: (payload: Payload, commit: string) => Payload
    headers: (secret: string, body: string, delivery: string) => Record<string, string>
  }
> = {
  // https://docs.gitlab.com/user/project/integrations/webhooks/#signing-tokens
  'GitLab that signs': {
    service: 'gitlab',
    title: 'GitLab',
    payload: 'gitlab-push',
    at: (payload, commit) => ({ ...payload, after: commit, checkout_sha: commit }),
    headers(secret, body, delivery) {
      const seconds = String(Math.floor(Date.now() / 1_000))
      const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
      return {
        'user-agent': 'GitLab/18.6.0',
        'x-gitlab-event': 'Push Hook',
        'webhook-id': delivery,
        'webhook-timestamp': seconds,
        'webhook-signature': `v1,${createHmac('sha256', key).update(`${delivery}.${seconds}.${body}`).digest('base64')}`,
      }
    },
  },
  // https://docs.gitlab.com/user/project/integrations/webhooks/#delivery-headers
  'GitLab with its secret token': {
    service: 'gitlab',
    title: 'GitLab',
    payload: 'gitlab-push',
    at: (payload, commit) => ({ ...payload, after: commit, checkout_sha: commit }),
    headers: (secret, _body, delivery) => ({
      'user-agent': 'GitLab/15.5.0-pre',
      'x-gitlab-event': 'Push Hook',
      'x-gitlab-instance': 'https://gitlab.example.org',
      'x-gitlab-webhook-uuid': randomUUID(),
      'x-gitlab-event-uuid': randomUUID(),
      'x-gitlab-token': secret,
      'idempotency-key': delivery,
    }),
  },
  // https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#HTTP-headers
  'Bitbucket Cloud': {
    service: 'bitbucket',
    title: 'Bitbucket',
    payload: 'bitbucket-cloud-push',
    at: (payload, commit) =>
      JSON.parse(JSON.stringify(payload).replaceAll('4f1c2b7d9e03a586c1d2e4f5061728394a5b6c7d', commit)) as Payload,
    headers: (secret, body, delivery) => ({
      'user-agent': 'Bitbucket-Webhooks/2.0',
      'x-event-key': 'repo:push',
      'x-hook-uuid': randomUUID(),
      'x-request-uuid': delivery,
      'x-attempt-number': '1',
      'x-hub-signature': `sha256=${hex(secret, body)}`,
    }),
  },
  // https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html, "HTTP headers"
  'Bitbucket Data Center': {
    service: 'bitbucket',
    title: 'Bitbucket',
    payload: 'bitbucket-data-center-push',
    at: (payload, commit) =>
      JSON.parse(JSON.stringify(payload).replaceAll('4f1c2b7d9e03a586c1d2e4f5061728394a5b6c7d', commit)) as Payload,
    headers: (secret, body, delivery) => ({
      'user-agent': 'Atlassian HttpClient 4.2.0 / Bitbucket-9.4.0 (9004000) / Default',
      'x-event-key': 'repo:refs_changed',
      'x-request-id': delivery,
      'x-hub-signature': `sha256=${hex(secret, body)}`,
    }),
  },
  // https://docs.gitea.com/usage/repository/webhooks
  Gitea: {
    service: 'gitea',
    title: 'Gitea',
    payload: 'gitea-push',
    at: (payload, commit) => ({ ...payload, after: commit }),
    headers: (secret, body, delivery) => ({
      'x-github-delivery': delivery,
      'x-github-event': 'push',
      'x-gogs-delivery': delivery,
      'x-gogs-event': 'push',
      'x-gitea-delivery': delivery,
      'x-gitea-event': 'push',
      'x-gitea-signature': hex(secret, body),
      'x-hub-signature-256': `sha256=${hex(secret, body)}`,
    }),
  },
  // https://forgejo.org/docs/latest/user/webhooks/
  Forgejo: {
    service: 'gitea',
    title: 'Gitea',
    payload: 'gitea-push',
    at: (payload, commit) => ({ ...payload, after: commit }),
    headers: (secret, body, delivery) => ({
      'x-forgejo-delivery': delivery,
      'x-forgejo-event': 'push',
      'x-forgejo-signature': hex(secret, body),
    }),
  },
}

function hex(secret: string, body: string): string {
  return createHmac('sha256', secret).update(body).digest('hex')
}
