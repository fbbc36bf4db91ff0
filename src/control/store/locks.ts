import type { Kysely } from 'kysely'
import { DployError } from '../../protocol/errors.ts'
import type { DeploymentKind, DeploymentState, LockHolder } from '../../protocol/deployment.ts'
import { formatDuration } from '../../protocol/duration.ts'
import type { Tables } from './schema.ts'

/** How long a lock lives without a heartbeat, and how often the holder gives one. Milliseconds. */
export const lockTtl = 15_000
export const lockHeartbeat = 3_000

/**
 * One deployment at a time per environment: a row with an expiry and a fencing token. The token grows with each
 * holder, and every later write names it, so that a holder that was stopped and wakes up late changes nothing.
 */
export class Locks {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /**
   * Takes the lock for a deployment and answers its fencing token. Takes it over when it has expired, when it is this
   * deployment's own, or when `isDead` says that its holder is no more. Throws `environment.locked`, saying who holds it.
   */
  async acquire(
    environmentId: string,
    deploymentId: string,
    holder: string,
    now: number,
    isDead: (holder: string) => boolean,
  ): Promise<number> {
    return this.#db.transaction().execute(async (trx) => {
      const held = await trx
        .selectFrom('locks')
        .selectAll()
        .where('environment_id', '=', environmentId)
        .executeTakeFirst()
      if (held && held.holder !== holder && held.expires_at > now && !isDead(held.holder))
        throw lockedError(await describe(trx, environmentId), now)
      if (held && held.holder === holder && held.deployment_id !== deploymentId && held.expires_at > now)
        throw lockedError(await describe(trx, environmentId), now)
      const { fence } = await trx
        .updateTable('environments')
        .set((eb) => ({ fence: eb('fence', '+', 1) }))
        .where('id', '=', environmentId)
        .returning('fence')
        .executeTakeFirstOrThrow()
      const row = { deployment_id: deploymentId, holder, fence, acquired_at: now, expires_at: now + lockTtl }
      await trx
        .insertInto('locks')
        .values({ environment_id: environmentId, ...row })
        .onConflict((oc) => oc.column('environment_id').doUpdateSet(row))
        .execute()
      await trx.updateTable('deployments').set({ fence }).where('id', '=', deploymentId).execute()
      return fence
    })
  }

  /** Prolongs the lock. Throws `lock.lost` if it was taken over or forced open. */
  async heartbeat(environmentId: string, fence: number, now: number): Promise<void> {
    const result = await this.#db
      .updateTable('locks')
      .set({ expires_at: now + lockTtl })
      .where('environment_id', '=', environmentId)
      .where('fence', '=', fence)
      .executeTakeFirst()
    if (result.numUpdatedRows !== 1n) throw new DployError('lock.lost')
  }

  async release(environmentId: string, fence: number): Promise<void> {
    await this.#db.deleteFrom('locks').where('environment_id', '=', environmentId).where('fence', '=', fence).execute()
  }

  /** The highest fencing token that was given out, or that servers told of. */
  async fence(environmentId: string): Promise<number> {
    const { fence } = await this.#db
      .selectFrom('environments')
      .select('fence')
      .where('id', '=', environmentId)
      .executeTakeFirstOrThrow()
    return fence
  }

  /** Who holds the lock; null if nobody does. */
  async holder(environmentId: string): Promise<LockHolder | null> {
    return describe(this.#db, environmentId)
  }

  /** Opens the lock by force: the token grows, so that the former holder's writes and commands are refused. */
  async force(environmentId: string): Promise<LockHolder | null> {
    return this.#db.transaction().execute(async (trx) => {
      const holder = await describe(trx, environmentId)
      await trx.deleteFrom('locks').where('environment_id', '=', environmentId).execute()
      await trx
        .updateTable('environments')
        .set((eb) => ({ fence: eb('fence', '+', 1) }))
        .where('id', '=', environmentId)
        .execute()
      return holder
    })
  }
}

async function describe(db: Kysely<Tables>, environmentId: string): Promise<LockHolder | null> {
  const row = await db
    .selectFrom('locks')
    .innerJoin('deployments', 'deployments.id', 'locks.deployment_id')
    .select([
      'deployments.id',
      'deployments.number',
      'deployments.kind',
      'locks.holder',
      'deployments.requested_by',
      'deployments.state',
      'locks.acquired_at',
      'locks.expires_at',
    ])
    .where('locks.environment_id', '=', environmentId)
    .executeTakeFirst()
  if (!row) return null
  return {
    deployment: row.id,
    number: row.number,
    kind: row.kind as DeploymentKind,
    holder: row.holder,
    requestedBy: row.requested_by,
    state: row.state as DeploymentState,
    since: row.acquired_at,
    expires: row.expires_at,
  }
}

function lockedError(holder: LockHolder | null, now: number): DployError {
  if (!holder) return new DployError('environment.locked')
  return new DployError(
    'environment.locked',
    `Deployment ${holder.number} by ${holder.requestedBy} holds the lock since ${formatDuration(now - holder.since)} and is ${holder.state}`,
    { where: holder.holder },
  )
}
