import type { WebhookService } from '../../../protocol/api/webhooks.ts'
import { bitbucket } from './bitbucket.ts'
import { gitea } from './gitea.ts'
import { github } from './github.ts'
import { gitlab } from './gitlab.ts'
import type { Service } from './service.ts'

/** The services that webhooks are for, by name. */
export const services = { github, gitlab, bitbucket, gitea } as const satisfies Record<WebhookService, Service>
