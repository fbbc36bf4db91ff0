import type { Kysely } from 'kysely'
import type { ChangeKind } from '../../protocol/api/changes.ts'
import type { Changes } from './changes.ts'
import type { Tables } from './schema.ts'
import type { Store } from './store.ts'

/** Where it changed: an environment by its id, all of an application by its name, the one of a deployment, those of a server, or none in particular. */
type Where = { environment: string } | { application: string } | { deployment: string } | { server: string } | null
type Methods<T> = { [M in keyof T]: T[M] extends (...args: never[]) => Promise<unknown> ? M : never }[keyof T]
type Args<T, M extends keyof T> = T[M] extends (...args: infer A) => Promise<unknown> ? A : never
type Result<T, M extends keyof T> = T[M] extends (...args: never[]) => Promise<infer R> ? R : never
type Told<T> = {
  [M in Methods<T>]?:
    [kind: ChangeKind, where: (args: Args<T, M>, result: Result<T, M>) => Where, when?: 'before'] | null
}

const ofDeployment = ([deployment]: readonly [string, ...unknown[]]): Where => ({ deployment })
const ofEnvironment = ([environment]: readonly [string, ...unknown[]]): Where => ({ environment })
const ofServer = ([server]: readonly [string, ...unknown[]]): Where => ({ server })
const nowhere = (): Where => null

/**
 * What each write changes for who looks at it; null: nothing that is shown. `before`: where it was is known only before the write. A test finds
 * the writing methods that are missing here.
 */
export const told: {
  [
    N in
      | 'applications'
      | 'servers'
      | 'releases'
      | 'deployments'
      | 'locks'
      | 'secrets'
      | 'tokens'
      | 'people'
      | 'approvals'
      | 'webhooks'
      | 'gates'
  ]: Told<Store[N]>
} = {
  applications: { apply: ['environments', ([{ application }]) => ({ application })] },
  servers: {
    join: ['servers', (_, server) => ({ server })],
    addTo: ['servers', ofServer],
    seen: ['servers', ofServer],
    gone: ['servers', ofServer],
    lock: ['servers', ofServer],
    keepOut: ['servers', ofServer],
    forgetKey: ['servers', ofServer],
    rename: ['servers', ofServer],
    remove: ['servers', ofServer, 'before'],
    offerKey: null,
    takeKey: null,
  },
  releases: { add: ['releases', ofEnvironment] },
  deployments: {
    create: ['deployments', ([{ environmentId }]) => ({ environment: environmentId })],
    transition: ['deployments', ofDeployment],
    setFrom: ['deployments', ofDeployment],
    setLiveGroup: ['environments', ofDeployment],
    abandon: ['deployments', ofDeployment],
    setPlan: ['deployments', ofDeployment],
    step: ['steps', ofDeployment],
    requestCancel: null,
    saveReceipt: ['deployments', ofDeployment],
  },
  locks: {
    acquire: ['environments', ofEnvironment],
    release: ['environments', ofEnvironment],
    force: ['environments', ofEnvironment],
    heartbeat: null,
  },
  secrets: { set: ['secrets', ofEnvironment], remove: ['secrets', ofEnvironment] },
  tokens: {
    create: null,
    createApi: ['tokens', nowhere],
    useApiToken: null,
    revoke: ['tokens', nowhere],
    useJoinToken: null,
  },
  people: {
    add: ['people', nowhere],
    addFirst: ['people', nowhere],
    setGrants: ['people', nowhere],
    remove: ['people', nowhere],
    setPassword: ['people', nowhere],
    seen: null,
  },
  approvals: { decide: ['deployments', ofDeployment], cancel: ['deployments', ofDeployment], expire: null },
  webhooks: {
    add: ['webhooks', nowhere],
    remove: ['webhooks', nowhere],
    receive: ['webhooks', nowhere],
    finish: ['webhooks', nowhere],
    again: ['webhooks', nowhere],
  },
  gates: {
    pause: ['deployments', ofDeployment],
    promote: ['deployments', ofDeployment],
    wait: ['deployments', ofDeployment],
  },
}

/** Has every write of a store noted as a change, once it is stored. */
export function notice(store: Pick<Store, keyof typeof told>, changes: Changes, db: Kysely<Tables>): void {
  const environments = new Map<string, string>()
  for (const [noun, methods] of Object.entries(told)) {
    const owner = store[noun as keyof typeof told] as unknown as Record<
      string,
      (...args: unknown[]) => Promise<unknown>
    >
    for (const [name, says] of Object.entries(methods) as [
      string,
      [ChangeKind, (args: unknown[], result: unknown) => Where, 'before'?] | null,
    ][]) {
      const write = owner[name]!.bind(owner)
      if (says)
        owner[name] = async (...args) => {
          const before = says[2] === 'before' ? await placesOf(says[1](args, undefined)) : null
          const result = await write(...args)
          for (const environment of before ?? (await placesOf(says[1](args, result))))
            changes.note(says[0], environment)
          return result
        }
    }
  }

  async function placesOf(where: Where): Promise<(string | null)[]> {
    if (where === null) return [null]
    if ('environment' in where) return [where.environment]
    if ('application' in where) {
      const found = await db
        .selectFrom('environments')
        .innerJoin('applications', 'applications.id', 'environments.application_id')
        .select('environments.id')
        .where('applications.name', '=', where.application)
        .execute()
      return found.map(({ id }) => id)
    }
    if ('deployment' in where) {
      const known = environments.get(where.deployment)
      if (known !== undefined) return [known]
      const row = await db
        .selectFrom('deployments')
        .select('environment_id')
        .where('id', '=', where.deployment)
        .executeTakeFirst()
      if (!row) return []
      if (environments.size >= 1_000) environments.clear()
      environments.set(where.deployment, row.environment_id)
      return [row.environment_id]
    }
    const rows = await db
      .selectFrom('environment_servers')
      .select('environment_id')
      .where('server_id', '=', where.server)
      .execute()
    return rows.length === 0 ? [null] : rows.map(({ environment_id }) => environment_id)
  }
}
