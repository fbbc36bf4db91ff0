import { createHmac, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'

export type Payload = Record<string, unknown>

/** A message as a service publishes it, with these values in place of its own. */
export function payloadOf(name: string, changes: Payload = {}): Payload {
  return { ...(JSON.parse(readFileSync(new URL(`fixtures/${name}.json`, import.meta.url), 'utf8')) as Payload), ...changes }
}

/** GitHub's push with another repository, branch and commit in it. */
export function githubPush(repository: string, branch: string, commit: string): Payload {
  const push = payloadOf('github-push')
  return { ...push, ref: `refs/heads/${branch}`, after: commit, repository: { ...(push.repository as Payload), clone_url: repository } }
}

/** Sends as GitHub does. `secret` is what it signs with. */
export async function sendAsGithub(url: string, secret: string, payload: Payload, options: { event?: string; delivery?: string } = {}): Promise<{ status: number; body: { state?: string; reason?: string; code?: string } }> {
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
  return { status: response.status, body: (await response.json()) as { state?: string; reason?: string; code?: string } }
}
