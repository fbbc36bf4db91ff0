import { standardSignature } from '../webhooks/signature.ts'
import type { Notification } from './notification.ts'
import { Undelivered, type Sender } from './sender.ts'

/** A signed message, as Standard Webhooks says: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md */
export const sendSigned: Sender<'webhook'> = async ({ id, told, entry, secret, now }) => {
  if (secret === null) throw new Undelivered('its secret is not set')
  const body = JSON.stringify(bodyOf(told))
  const seconds = Math.floor(now / 1_000)
  const { post } = await import('./post.ts')
  await post(
    entry.url,
    {
      'webhook-id': id,
      'webhook-timestamp': String(seconds),
      'webhook-signature': standardSignature(secret, id, seconds, body),
    },
    body,
  )
}

/** `type`, `timestamp` and `data`, as the specification recommends. */
export function bodyOf(told: Notification) {
  const { moment, at, application, environment, deployment, server } = told
  const type = moment === 'server_gone' ? 'server.gone' : moment === 'test' ? 'test' : `deployment.${moment}`
  return {
    type,
    timestamp: new Date(at).toISOString(),
    data: {
      application,
      environment,
      ...(deployment ? { deployment } : {}),
      ...(server ? { server: { name: server.name, since: new Date(server.since).toISOString() } } : {}),
    },
  }
}
