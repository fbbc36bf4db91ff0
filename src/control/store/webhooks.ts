import type { Kysely, Selectable } from 'kysely'
import type { Delivery, DeliveryResult, WebhookService } from '../../protocol/api/webhooks.ts'
import { DployError } from '../../protocol/errors.ts'
import { newId } from '../../protocol/ids.ts'
import type { SecretBox } from '../secrets/secret-box.ts'
import type { Push } from '../webhooks/push.ts'
import type { DeploymentRequest } from './deployment-request.ts'
import type { Tables } from './schema.ts'

/** A webhook as it is stored, without its secret. */
export interface StoredWebhook {
  id: string
  service: WebhookService
  note: string
  application: string | null
  environments: string[] | null
  createdAt: number
  createdBy: string
}

/** A message that is to be worked through. */
export interface WaitingDelivery {
  id: string
  webhook: StoredWebhook
  push: Push
}

/** How many messages of a webhook are kept; one that is sent again after so many others counts as new. */
const keptDeliveries = 1_000

/** Queries over webhooks and what services sent to them. Secrets are sealed. */
export class Webhooks {
  readonly #db: Kysely<Tables>
  readonly #box: SecretBox

  constructor(db: Kysely<Tables>, box: SecretBox) {
    this.#db = db
    this.#box = box
  }

  async add(webhook: Omit<StoredWebhook, 'id' | 'createdAt'>, secret: string, now: number): Promise<StoredWebhook> {
    const id = newId('whk')
    const { service, note, application, environments, createdBy } = webhook
    await this.#db
      .insertInto('webhooks')
      .values({
        id,
        service,
        note,
        application,
        environments: environments && JSON.stringify(environments),
        sealed: this.#box.seal(secret, id),
        created_at: now,
        created_by: createdBy,
      })
      .execute()
    return { ...webhook, id, createdAt: now }
  }

  /** In the order in which they were made. */
  async list(): Promise<StoredWebhook[]> {
    return (await this.#db.selectFrom('webhooks').selectAll().orderBy('created_at').orderBy('id').execute()).map(
      webhookOf,
    )
  }

  /** Throws `webhook.unknown`. */
  async get(id: string): Promise<StoredWebhook> {
    return webhookOf(await this.#row(id))
  }

  /** Throws `webhook.unknown`, and `secret.unreadable`. */
  async secretOf(id: string): Promise<string> {
    const row = await this.#row(id)
    return this.#box.unseal(row.sealed, row.id)
  }

  /** Forgets a webhook with all that came to it. Throws `webhook.unknown`. */
  async remove(id: string): Promise<void> {
    await this.#row(id)
    await this.#db.transaction().execute(async (trx) => {
      await trx.deleteFrom('deliveries').where('webhook_id', '=', id).execute()
      await trx.deleteFrom('webhooks').where('id', '=', id).execute()
    })
  }

  /** Stores a message, once: null if it came before. The oldest of its webhook are forgotten. */
  async receive(
    webhook: string,
    message: { delivery: string; event: string; push: Push | null; reason: string },
    now: number,
  ): Promise<string | null> {
    const id = newId('dlv')
    return this.#db.transaction().execute(async (trx) => {
      const row = await trx
        .insertInto('deliveries')
        .values({
          id,
          webhook_id: webhook,
          delivery: message.delivery,
          event: message.event,
          received_at: now,
          state: message.push === null ? 'ignored' : 'waiting',
          reason: message.reason,
          push: message.push && JSON.stringify(message.push),
          results: '[]',
        })
        .onConflict((oc) => oc.columns(['webhook_id', 'delivery']).doNothing())
        .returning('id')
        .executeTakeFirst()
      if (!row) return null
      await trx
        .deleteFrom('deliveries')
        .where('webhook_id', '=', webhook)
        .where('state', '!=', 'waiting')
        .where('id', 'in', (eb) =>
          eb
            .selectFrom('deliveries')
            .select('id')
            .where('webhook_id', '=', webhook)
            .orderBy('received_at', 'desc')
            .orderBy('id')
            .limit(-1)
            .offset(keptDeliveries),
        )
        .execute()
      return id
    })
  }

  /** Stores a message that came before as a new one, which waits. Throws `webhook.unknown`, `not_found`, and `request.invalid` where it told of no push. */
  async again(webhook: string, delivery: string, again: NonNullable<Push['again']>, now: number): Promise<string> {
    await this.#row(webhook)
    const row = await this.#db
      .selectFrom('deliveries')
      .selectAll()
      .where('webhook_id', '=', webhook)
      .where('id', '=', delivery)
      .executeTakeFirst()
    if (!row)
      throw new DployError('not_found', `There is no delivery ${delivery}`, {
        fix: 'See what came: dploy webhook list ID',
      })
    if (row.push === null)
      throw new DployError('request.invalid', `This ${row.event} told of no push: ${row.reason}`, {
        fix: 'Redeliver one that told of a push to a branch',
      })
    const push: Push = { ...(JSON.parse(row.push) as Push), again }
    const id = newId('dlv')
    await this.#db
      .insertInto('deliveries')
      .values({
        id,
        webhook_id: webhook,
        delivery: `again ${id}`,
        event: row.event,
        received_at: now,
        state: 'waiting',
        reason: '',
        push: JSON.stringify(push),
        results: '[]',
      })
      .execute()
    return id
  }

  /** One message of a webhook. Throws `not_found`. */
  async delivery(webhook: string, id: string): Promise<Delivery> {
    const row = await this.#db
      .selectFrom('deliveries')
      .selectAll()
      .where('webhook_id', '=', webhook)
      .where('id', '=', id)
      .executeTakeFirst()
    if (!row) throw new DployError('not_found', `There is no delivery ${id}`)
    return deliveryOf(row)
  }

  /** What nobody has worked through yet, the oldest first. */
  async waiting(): Promise<WaitingDelivery[]> {
    const rows = await this.#db
      .selectFrom('deliveries')
      .innerJoin('webhooks', 'webhooks.id', 'deliveries.webhook_id')
      .selectAll('webhooks')
      .select(['deliveries.id as delivery_id', 'deliveries.push'])
      .where('state', '=', 'waiting')
      .orderBy('received_at')
      .execute()
    return rows.map((row) => ({ id: row.delivery_id, webhook: webhookOf(row), push: JSON.parse(row.push!) as Push }))
  }

  async finish(
    id: string,
    end: { state: 'done' | 'failed'; reason: string; results: DeliveryResult[] },
  ): Promise<void> {
    await this.#db
      .updateTable('deliveries')
      .set({ state: end.state, reason: end.reason, results: JSON.stringify(end.results) })
      .where('id', '=', id)
      .execute()
  }

  /** What came to a webhook, the newest first. */
  async deliveries(webhook: string, limit: number): Promise<Delivery[]> {
    const rows = await this.#db
      .selectFrom('deliveries')
      .selectAll()
      .where('webhook_id', '=', webhook)
      .orderBy('received_at', 'desc')
      .limit(limit)
      .execute()
    return rows.map(deliveryOf)
  }

  /** Deployments that pushes brought and that have not begun: they wait in line, or for approval. */
  async pushesInLine(environmentId: string): Promise<string[]> {
    const rows = await this.#db
      .selectFrom('deployments')
      .select(['id', 'request'])
      .where('environment_id', '=', environmentId)
      .where('state', 'in', ['queued', 'waiting_for_approval'])
      .orderBy('number')
      .execute()
    return rows
      .filter(({ request }) => (JSON.parse(request) as DeploymentRequest).push !== undefined)
      .map(({ id }) => id)
  }

  /** Number of the deployment that a message of a webhook brought; null if it has not. */
  async ofPush(environmentId: string, delivery: string): Promise<number | null> {
    const rows = await this.#db
      .selectFrom('deployments')
      .select(['number', 'request'])
      .where('environment_id', '=', environmentId)
      .orderBy('number', 'desc')
      .limit(200)
      .execute()
    return (
      rows.find(({ request }) => (JSON.parse(request) as DeploymentRequest).push?.delivery === delivery)?.number ?? null
    )
  }

  async #row(id: string): Promise<Selectable<Tables['webhooks']>> {
    const row = await this.#db.selectFrom('webhooks').selectAll().where('id', '=', id).executeTakeFirst()
    if (!row) throw new DployError('webhook.unknown', `There is no webhook ${id.slice(0, 100)}`)
    return row
  }
}

function webhookOf(row: Selectable<Tables['webhooks']>): StoredWebhook {
  return {
    id: row.id,
    service: row.service as WebhookService,
    note: row.note,
    application: row.application,
    environments: row.environments === null ? null : (JSON.parse(row.environments) as string[]),
    createdAt: row.created_at,
    createdBy: row.created_by,
  }
}

function deliveryOf(row: Selectable<Tables['deliveries']>): Delivery {
  const push = row.push === null ? null : (JSON.parse(row.push) as Push)
  return {
    id: row.id,
    delivery: row.delivery,
    event: row.event,
    receivedAt: row.received_at,
    state: row.state as Delivery['state'],
    reason: row.reason,
    repository: push?.repository.name ?? null,
    againBy: push?.again?.by ?? null,
    branches: push?.branches.map(({ name }) => name) ?? [],
    results: JSON.parse(row.results) as DeliveryResult[],
  }
}
