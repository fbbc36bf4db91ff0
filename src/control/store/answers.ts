import type { Kysely } from 'kysely'
import { newId } from '../../protocol/ids.ts'
import type { SecretBox } from '../secrets/secret-box.ts'
import type { Tables } from './schema.ts'

/** How long a key is kept. Milliseconds. */
export const keptFor = 24 * 3_600_000

export interface StoredAnswer {
  id: string
  /** Digest of the request. */
  request: string
  /** The process that works on it, or did. */
  holder: string
  /** Null: there is none yet. */
  answer: { value: unknown } | null
}

/** Requests with an Idempotency-Key and their answers, which may hold a secret, and so are sealed. */
export class Answers {
  readonly #db: Kysely<Tables>
  readonly #box: SecretBox

  constructor(db: Kysely<Tables>, box: SecretBox) {
    this.#db = db
    this.#box = box
  }

  /** Takes a key for a request: `taken` for who is first, else what is stored under it. Forgets what is old. */
  async take(
    caller: string,
    key: string,
    request: string,
    holder: string,
    now: number,
  ): Promise<{ taken: boolean; entry: StoredAnswer }> {
    await this.#db
      .deleteFrom('answers')
      .where('created_at', '<', now - keptFor)
      .execute()
    const id = newId('ans')
    const made = await this.#db
      .insertInto('answers')
      .values({ id, caller, key, request, holder, sealed: null, created_at: now })
      .onConflict((oc) => oc.columns(['caller', 'key']).doNothing())
      .executeTakeFirst()
    if (Number(made.numInsertedOrUpdatedRows ?? 0) === 1)
      return { taken: true, entry: { id, request, holder, answer: null } }
    return { taken: false, entry: (await this.find(caller, key)) ?? { id, request, holder, answer: null } }
  }

  /** What is stored under a key; null: nothing. Throws `secret.unreadable`. */
  async find(caller: string, key: string): Promise<StoredAnswer | null> {
    const row = await this.#db
      .selectFrom('answers')
      .selectAll()
      .where('caller', '=', caller)
      .where('key', '=', key)
      .executeTakeFirst()
    if (!row) return null
    return {
      id: row.id,
      request: row.request,
      holder: row.holder,
      answer: row.sealed === null ? null : { value: JSON.parse(this.#box.unseal(row.sealed, row.id)) as unknown },
    }
  }

  /** `value`: as it is sent. */
  async keep(id: string, value: unknown): Promise<void> {
    await this.#db
      .updateTable('answers')
      .set({ sealed: this.#box.seal(JSON.stringify(value), id) })
      .where('id', '=', id)
      .execute()
  }

  /** Nothing was done: the key is free again. */
  async release(id: string): Promise<void> {
    await this.#db.deleteFrom('answers').where('id', '=', id).execute()
  }
}
