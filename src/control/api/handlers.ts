import type { ApiContext } from './context.ts'
import { artifactHandlers } from './artifacts/artifact-handlers.ts'
import { auditHandlers } from './audit/audit-handlers.ts'
import { badgeHandlers } from './badges/badge-handlers.ts'
import { commandHandlers } from './commands/command-handlers.ts'
import { controlHandlers } from './control/control-handlers.ts'
import { deploymentHandlers } from './deployments/deployment-handlers.ts'
import { environmentHandlers } from './environments/environment-handlers.ts'
import { notificationHandlers } from './notifications/notification-handlers.ts'
import { peopleHandlers } from './people/people-handlers.ts'
import { sessionHandlers } from './people/session-handlers.ts'
import { tokenHandlers } from './people/token-handlers.ts'
import { releaseHandlers } from './releases/release-handlers.ts'
import { secretHandlers } from './secrets/secret-handlers.ts'
import type { Handlers } from './server.ts'
import { serverHandlers } from './servers/server-handlers.ts'
import { vitalsHandlers } from './servers/vitals-handlers.ts'
import { applyConfig } from './settings/apply.ts'
import { changeHandlers } from './settings/change-handlers.ts'
import { settingsHandlers } from './settings/settings-handlers.ts'
import { sourceHandlers } from './sources/source-handlers.ts'
import { webhookHandlers } from './webhooks/webhook-handlers.ts'

/** What each route of the contract does: a folder for each resource has its handlers. */
export function makeHandlers(context: ApiContext): Handlers {
  return {
    apply: (call) => applyConfig(context, call),
    ...artifactHandlers(context),
    ...auditHandlers(context),
    ...badgeHandlers(context),
    ...changeHandlers(context),
    ...commandHandlers(context),
    ...controlHandlers(context),
    ...deploymentHandlers(context),
    ...environmentHandlers(context),
    ...notificationHandlers(context),
    ...peopleHandlers(context),
    ...releaseHandlers(context),
    ...secretHandlers(context),
    ...serverHandlers(context),
    ...sessionHandlers(context),
    ...settingsHandlers(context),
    ...sourceHandlers(context),
    ...tokenHandlers(context),
    ...vitalsHandlers(context),
    ...webhookHandlers(context),
  }
}
