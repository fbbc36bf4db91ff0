import { randomBytes } from 'node:crypto'
import { hmacHex, sameText } from '../signature.ts'
import { pushOf } from './github.ts'
import type { Service } from './service.ts'

/** Gitea (https://docs.gitea.com/usage/repository/webhooks) and Forgejo, which names its headers after itself too. */
export const gitea: Service = {
  title: 'Gitea',
  newSecret: () => randomBytes(32).toString('hex'),
  isSigned: (secret, headers, body) =>
    sameText(headers['x-gitea-signature'] ?? headers['x-forgejo-signature'] ?? '', hmacHex(secret, body)),
  deliveryOf: (headers) => headers['x-gitea-delivery'] ?? headers['x-forgejo-delivery'] ?? null,
  eventOf: (headers) => headers['x-gitea-event'] ?? headers['x-forgejo-event'] ?? '',
  read: (event, payload) => (event === 'push' ? pushOf(payload) : { nothing: `the event ${event} is no push` }),
}
