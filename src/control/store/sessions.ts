import { randomBytes } from 'node:crypto'
import type { Kysely } from 'kysely'
import { newId } from '../../protocol/ids.ts'
import type { Tables } from './schema.ts'
import { hashOf } from './tokens.ts'

/** A session ends after so long without a request, and at the latest so long after signing in. Milliseconds. */
const idleTime = 24 * 3_600_000
const longestTime = 7 * 24 * 3_600_000
/** How old a cookie's value gets. Milliseconds. */
const rotateEvery = 30 * 60_000
/** How long requests that were under way at a rotation may still carry the value before. Milliseconds. */
const grace = 60_000
/** How exactly it is known when a session was used last. Milliseconds. */
const seenEvery = 60_000

export interface UsedSession {
  id: string
  person: string
  expiresAt: number
  /** The value that the cookie gets from now on; null: it keeps the one it has. */
  rotated: string | null
}

/** Queries over the sessions of people who signed in. */
export class Sessions {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** Begins a session and answers the value of its cookie, which cannot be read again. Ended ones are cleared away. */
  async begin(
    person: string,
    from: { address: string; browser: string },
    now: number,
  ): Promise<{ id: string; value: string; expiresAt: number }> {
    const value = newValue()
    const [id, expiresAt] = [newId('ses'), now + longestTime]
    await this.#db
      .deleteFrom('sessions')
      .where((eb) => eb.or([eb('expires_at', '<=', now), eb('seen_at', '<=', now - idleTime)]))
      .execute()
    await this.#db
      .insertInto('sessions')
      .values({
        id,
        person_id: person,
        hash: hashOf(value),
        previous_hash: null,
        previous_until: null,
        rotated_at: now,
        created_at: now,
        seen_at: now,
        expires_at: expiresAt,
        address: from.address,
        browser: from.browser.slice(0, 300),
      })
      .execute()
    return { id, value, expiresAt }
  }

  /**
   * The session of a cookie's value; null if there is none. The value changes now and then. The one before is taken until
   * the new one was seen, since the answer that carried it may have been lost, and for requests that were under way.
   */
  async use(value: string, address: string, now: number): Promise<UsedSession | null> {
    const hash = hashOf(value)
    const row = await this.#db
      .selectFrom('sessions')
      .selectAll()
      .where((eb) => eb.or([eb('hash', '=', hash), eb('previous_hash', '=', hash)]))
      .where('expires_at', '>', now)
      .where('seen_at', '>', now - idleTime)
      .executeTakeFirst()
    if (!row) return null
    const current = row.hash === hash
    if (!current && row.previous_until !== null && row.previous_until <= now) return null
    const used: UsedSession = { id: row.id, person: row.person_id, expiresAt: row.expires_at, rotated: null }
    const confirm = current && row.previous_hash !== null && row.previous_until === null
    const due = current
      ? now - row.rotated_at >= rotateEvery
      : row.previous_until === null && now - row.rotated_at >= grace
    if (due) {
      const next = newValue()
      const { numUpdatedRows } = await this.#db
        .updateTable('sessions')
        .set({ hash: hashOf(next), previous_hash: hash, previous_until: null, rotated_at: now, seen_at: now, address })
        .where('id', '=', row.id)
        .where('hash', '=', row.hash)
        .executeTakeFirst()
      // Of requests that come at the same time one gets the new value.
      return { ...used, rotated: numUpdatedRows === 1n ? next : null }
    }
    if (confirm || now - row.seen_at >= seenEvery) {
      await this.#db
        .updateTable('sessions')
        .set({ seen_at: now, address, ...(confirm ? { previous_until: now + grace } : {}) })
        .where('id', '=', row.id)
        .execute()
    }
    return used
  }

  /** Whether a person was signed in from an address lately. */
  async wasAt(person: string, address: string): Promise<boolean> {
    return (
      (await this.#db
        .selectFrom('sessions')
        .select('id')
        .where('person_id', '=', person)
        .where('address', '=', address)
        .executeTakeFirst()) !== undefined
    )
  }

  /** Whether a session has not ended. */
  async isOpen(id: string, now: number): Promise<boolean> {
    const row = await this.#db
      .selectFrom('sessions')
      .select('id')
      .where('id', '=', id)
      .where('expires_at', '>', now)
      .executeTakeFirst()
    return row !== undefined
  }

  async end(id: string): Promise<void> {
    await this.#db.deleteFrom('sessions').where('id', '=', id).execute()
  }

  /** Ends all of a person but `keep`. Answers how many. */
  async endAll(person: string, keep: string | null = null): Promise<number> {
    const { numDeletedRows } = await this.#db
      .deleteFrom('sessions')
      .where('person_id', '=', person)
      .$if(keep !== null, (query) => query.where('id', '!=', keep!))
      .executeTakeFirst()
    return Number(numDeletedRows)
  }

  /** Those of a person that have not ended, the one used last first. */
  async list(
    person: string,
    now: number,
  ): Promise<{ id: string; createdAt: number; seenAt: number; address: string; browser: string }[]> {
    const rows = await this.#db
      .selectFrom('sessions')
      .select(['id', 'created_at', 'seen_at', 'address', 'browser'])
      .where('person_id', '=', person)
      .where('expires_at', '>', now)
      .where('seen_at', '>', now - idleTime)
      .orderBy('seen_at', 'desc')
      .execute()
    return rows.map((row) => ({
      id: row.id,
      createdAt: row.created_at,
      seenAt: row.seen_at,
      address: row.address,
      browser: row.browser,
    }))
  }
}

function newValue(): string {
  return randomBytes(32).toString('base64url')
}
