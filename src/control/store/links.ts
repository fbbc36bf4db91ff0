import { randomBytes } from 'node:crypto'
import type { Kysely } from 'kysely'
import { DployError } from '../../protocol/errors.ts'
import type { Tables } from './schema.ts'
import { hashOf } from './tokens.ts'

/** One-use links: the first administrator's, and invitations. The newest of a kind and person is the only one. */
export class Links {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** Makes a link's secret, which cannot be read again; those before it end. `expires` in epoch milliseconds. */
  async create(kind: 'setup' | 'invitation', person: string | null, expires: number): Promise<string> {
    const secret = randomBytes(24).toString('base64url')
    await this.#db.transaction().execute(async (trx) => {
      await trx
        .deleteFrom('links')
        .where('kind', '=', kind)
        .where('person_id', person === null ? 'is' : '=', person)
        .execute()
      await trx
        .insertInto('links')
        .values({ hash: hashOf(secret), kind, person_id: person, expires_at: expires })
        .execute()
    })
    return secret
  }

  /** Whose link this is, without using it up. Throws `link.invalid`. */
  async check(kind: 'setup' | 'invitation', secret: string, now: number): Promise<{ person: string | null }> {
    const row = await this.#db
      .selectFrom('links')
      .select('person_id')
      .where('hash', '=', hashOf(secret))
      .where('kind', '=', kind)
      .where('expires_at', '>', now)
      .executeTakeFirst()
    if (!row) throw new DployError('link.invalid')
    return { person: row.person_id }
  }

  /** Uses a link up: of two at the same time one gets it, the other `link.invalid`. */
  async use(kind: 'setup' | 'invitation', secret: string, now: number): Promise<{ person: string | null }> {
    const row = await this.#db
      .deleteFrom('links')
      .where('hash', '=', hashOf(secret))
      .where('kind', '=', kind)
      .where('expires_at', '>', now)
      .returning('person_id')
      .executeTakeFirst()
    if (!row) throw new DployError('link.invalid')
    return { person: row.person_id }
  }
}
