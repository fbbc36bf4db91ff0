import type { NotifyTargetView } from '../../../protocol/api/notifications.ts'
import { DployError } from '../../../protocol/errors.ts'
import { statusMoments } from '../../notify/commit-status.ts'
import { targetsOf } from '../../notify/targets.ts'
import type { Environment } from '../../store/applications.ts'
import type { ApiContext } from '../context.ts'
import type { Handlers } from '../server.ts'

/** What the routes of notifications do. */
export function notificationHandlers(context: ApiContext): Pick<Handlers, 'notifications' | 'testNotification'> {
  const { store, notifier } = context
  return {
    async notifications({ params }) {
      return {
        targets: await present(context, await store.applications.environment(params.application, params.environment)),
      }
    },

    async testNotification({ params, caller, tell }) {
      const environment = await store.applications.environment(params.application, params.environment)
      const before = (await present(context, environment)).find(({ key }) => key === params.key)
      tell({ subject: before?.name ?? params.key, before: before && { state: before.state, reason: before.reason } })
      await notifier.test(environment, params.key, caller.name)
      const after = (await present(context, environment)).find(({ key }) => key === params.key)
      if (!after) throw new DployError('notification.unknown')
      tell({ after: { state: after.state, reason: after.reason } })
      return after
    },
  }
}

async function present({ store }: ApiContext, environment: Environment): Promise<NotifyTargetView[]> {
  const known = new Map((await store.outbox.targets(environment.id)).map((target) => [target.key, target]))
  return targetsOf(environment).map(({ entry, key, name }) => {
    const target = known.get(key)
    return {
      key,
      kind: entry.kind,
      name,
      on: entry.kind === 'commit_status' ? statusMoments : entry.on,
      state: !target
        ? 'new'
        : target.disabledAt !== null
          ? 'disabled'
          : target.failingSince !== null
            ? 'failing'
            : target.deliveredAt === null
              ? 'new'
              : 'working',
      deliveredAt: target?.deliveredAt ?? null,
      failingSince: target?.failingSince ?? null,
      reason: target?.reason ?? null,
      waiting: target?.waiting ?? 0,
    }
  })
}
