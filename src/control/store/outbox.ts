import type { Kysely, Selectable } from 'kysely'
import type { DeploymentEventData, DeploymentState } from '../../protocol/deployment.ts'
import { newId } from '../../protocol/ids.ts'
import type { Notification } from '../notify/notification.ts'
import type { Tables } from './schema.ts'

/** That a deployment came into a state. */
export interface StateEvent {
  deployment: string
  state: DeploymentState
  at: number
}

/** A notification for one target, before it is stored. */
export interface Addressed {
  environment: string
  /** Which entry of `notify`: its digest, and a name for people. */
  key: string
  name: string
  /** Id of what it is about. */
  about: string
  told: Notification
}

/** A notification that waits. */
export interface Waiting {
  id: string
  target: string
  environment: string
  key: string
  told: Notification
  attempts: number
  createdAt: number
}

/** Where notifications of an environment go, as the API shows it. Times are epoch milliseconds. */
export interface Target {
  id: string
  key: string
  name: string
  failingSince: number | null
  disabledAt: number | null
  reason: string | null
  deliveredAt: number | null
  waiting: number
}

/** How many notifications that are over are kept. */
const kept = 2_000

/** The outbox: a notification is stored with how far the events were read, so that none is lost and none is made twice; it is sent after. */
export class Outbox {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** States that deployments came into since the last time, and up to which event. Null: nothing happened. */
  async news(): Promise<{ after: number; upTo: number; events: StateEvent[] } | null> {
    const { seq: after } = await this.#db
      .selectFrom('notify_cursor')
      .select('seq')
      .where('id', '=', 1)
      .executeTakeFirstOrThrow()
    const last = Number(
      (
        await this.#db
          .selectFrom('events')
          .select((eb) => eb.fn.max('seq').as('seq'))
          .executeTakeFirst()
      )?.seq ?? 0,
    )
    if (last <= after) return null
    const rows = await this.#db
      .selectFrom('events')
      .select(['deployment_id', 'at', 'data'])
      .where('seq', '>', after)
      .where('seq', '<=', last)
      .where('data', 'like', '{"kind":"state"%')
      .orderBy('seq')
      .execute()
    return {
      after,
      upTo: last,
      events: rows.flatMap((row) => {
        const data = JSON.parse(row.data) as DeploymentEventData
        return data.kind === 'state' ? [{ deployment: row.deployment_id, state: data.state, at: row.at }] : []
      }),
    }
  }

  /** Stores what is to be told of news, and that they were read. */
  async took(news: { after: number; upTo: number }, told: readonly Addressed[], now: number): Promise<void> {
    await this.#db.transaction().execute(async (trx) => {
      const { numUpdatedRows } = await trx
        .updateTable('notify_cursor')
        .set({ seq: news.upTo })
        .where('id', '=', 1)
        .where('seq', '=', news.after)
        .executeTakeFirst()
      if (numUpdatedRows !== 1n) return
      // Times that differ keep their order.
      for (const [index, one] of told.entries()) await put(trx, one, now + index)
    })
  }

  /** Stores a notification that comes from no event; once for what it is about. */
  async add(told: Addressed, now: number): Promise<void> {
    await this.#db.transaction().execute((trx) => put(trx, told, now))
  }

  /** What is due, the oldest first. What is about the same thing goes to a target in its order. */
  async due(now: number, limit: number): Promise<Waiting[]> {
    const rows = await this.#db
      .selectFrom('outbox')
      .innerJoin('notify_targets', 'notify_targets.id', 'outbox.target_id')
      .select(['outbox.id', 'target_id', 'environment_id', 'key', 'payload', 'attempts', 'created_at'])
      .where('state', '=', 'waiting')
      .where('next_at', '<=', now)
      .where('disabled_at', 'is', null)
      .where((eb) =>
        eb.not(
          eb.exists(
            eb
              .selectFrom('outbox as before')
              .select('before.id')
              .whereRef('before.target_id', '=', 'outbox.target_id')
              .whereRef('before.about', '=', 'outbox.about')
              .where('before.state', '=', 'waiting')
              .whereRef('before.created_at', '<', 'outbox.created_at'),
          ),
        ),
      )
      .orderBy('created_at')
      .limit(limit)
      .execute()
    return rows.map((row) => ({
      id: row.id,
      target: row.target_id,
      environment: row.environment_id,
      key: row.key,
      told: JSON.parse(row.payload) as Notification,
      attempts: row.attempts,
      createdAt: row.created_at,
    }))
  }

  async sent(waiting: Waiting, now: number): Promise<void> {
    await this.#db.transaction().execute(async (trx) => {
      await trx
        .updateTable('outbox')
        .set({ state: 'sent', attempts: waiting.attempts + 1, ended_at: now, problem: null })
        .where('id', '=', waiting.id)
        .execute()
      await trx
        .updateTable('notify_targets')
        .set({ failing_since: null, reason: null, delivered_at: now })
        .where('id', '=', waiting.target)
        .execute()
      await trx
        .deleteFrom('outbox')
        .where('state', '!=', 'waiting')
        .where('id', 'in', (eb) =>
          eb
            .selectFrom('outbox')
            .select('id')
            .where('state', '!=', 'waiting')
            .orderBy('created_at', 'desc')
            .limit(-1)
            .offset(kept),
        )
        .execute()
    })
  }

  /** `next` null: it is given up. Answers since when the target fails. Times in epoch milliseconds. */
  async failed(waiting: Waiting, problem: string, next: number | null, now: number): Promise<number> {
    return this.#db.transaction().execute(async (trx) => {
      await trx
        .updateTable('outbox')
        .set({
          attempts: waiting.attempts + 1,
          problem,
          ...(next === null ? { state: 'given_up', ended_at: now } : { next_at: next }),
        })
        .where('id', '=', waiting.id)
        .execute()
      const row = await trx
        .updateTable('notify_targets')
        .set((eb) => ({ reason: problem, failing_since: eb.fn.coalesce('failing_since', eb.val(now)) }))
        .where('id', '=', waiting.target)
        .returning('failing_since')
        .executeTakeFirstOrThrow()
      return row.failing_since ?? now
    })
  }

  /** Sends nothing there any more; what waits is given up. */
  async disable(target: string, reason: string, now: number): Promise<void> {
    await this.#db.transaction().execute(async (trx) => {
      await trx.updateTable('notify_targets').set({ disabled_at: now, reason }).where('id', '=', target).execute()
      await trx
        .updateTable('outbox')
        .set({ state: 'given_up', problem: reason, ended_at: now })
        .where('target_id', '=', target)
        .where('state', '=', 'waiting')
        .execute()
    })
  }

  /** Something arrived there: it works, whatever was before. */
  async enable(target: string, now: number): Promise<void> {
    await this.#db
      .updateTable('notify_targets')
      .set({ disabled_at: null, failing_since: null, reason: null, delivered_at: now })
      .where('id', '=', target)
      .execute()
  }

  /** The id of the target of an entry of `notify`, made where it is new. */
  async targetOf(environment: string, key: string, name: string): Promise<string> {
    return this.#db.transaction().execute(async (trx) => (await target(trx, environment, key, name)).id)
  }

  /** What is known of the targets of an environment. */
  async targets(environment: string): Promise<Target[]> {
    const rows = await this.#db
      .selectFrom('notify_targets')
      .selectAll()
      .select((eb) =>
        eb
          .selectFrom('outbox')
          .select((inner) => inner.fn.countAll<number>().as('n'))
          .whereRef('target_id', '=', 'notify_targets.id')
          .where('state', '=', 'waiting')
          .as('waiting'),
      )
      .where('environment_id', '=', environment)
      .execute()
    return rows.map((row) => ({
      id: row.id,
      key: row.key,
      name: row.name,
      failingSince: row.failing_since,
      disabledAt: row.disabled_at,
      reason: row.reason,
      deliveredAt: row.delivered_at,
      waiting: row.waiting ?? 0,
    }))
  }

  /** When the next one is due; null: nothing waits. Epoch milliseconds. */
  async nextAt(): Promise<number | null> {
    const row = await this.#db
      .selectFrom('outbox')
      .innerJoin('notify_targets', 'notify_targets.id', 'outbox.target_id')
      .select((eb) => eb.fn.min('next_at').as('at'))
      .where('state', '=', 'waiting')
      .where('disabled_at', 'is', null)
      .executeTakeFirst()
    return row?.at ?? null
  }

  /** Servers of which it was told that they are gone, and since when. */
  async goneServers(): Promise<Map<string, number>> {
    const rows = await this.#db.selectFrom('gone_servers').selectAll().execute()
    return new Map(rows.map((row) => [row.server_id, row.since]))
  }

  /** `since` null: it is back. */
  async serverGone(server: string, since: number | null): Promise<void> {
    if (since === null) await this.#db.deleteFrom('gone_servers').where('server_id', '=', server).execute()
    else
      await this.#db
        .insertInto('gone_servers')
        .values({ server_id: server, since })
        .onConflict((oc) => oc.column('server_id').doNothing())
        .execute()
  }
}

async function put(
  trx: Kysely<Tables>,
  { environment, key, name, about, told }: Addressed,
  now: number,
): Promise<void> {
  const { id, disabled_at } = await target(trx, environment, key, name)
  if (disabled_at !== null) return
  await trx
    .insertInto('outbox')
    .values({
      id: newId('msg'),
      target_id: id,
      about,
      moment: told.moment,
      payload: JSON.stringify(told),
      state: 'waiting',
      attempts: 0,
      next_at: now,
      problem: null,
      created_at: now,
      ended_at: null,
    })
    .onConflict((oc) => oc.columns(['target_id', 'about', 'moment']).doNothing())
    .execute()
}

async function target(
  trx: Kysely<Tables>,
  environment: string,
  key: string,
  name: string,
): Promise<Selectable<Tables['notify_targets']>> {
  await trx
    .insertInto('notify_targets')
    .values({
      id: newId('ntf'),
      environment_id: environment,
      key,
      name,
      failing_since: null,
      disabled_at: null,
      reason: null,
      delivered_at: null,
    })
    .onConflict((oc) => oc.columns(['environment_id', 'key']).doNothing())
    .execute()
  return trx
    .selectFrom('notify_targets')
    .selectAll()
    .where('environment_id', '=', environment)
    .where('key', '=', key)
    .executeTakeFirstOrThrow()
}
