import { createHash, randomBytes } from 'node:crypto'
import type { Kysely } from 'kysely'
import { DployError } from '../../protocol/errors.ts'
import { newId } from '../../protocol/ids.ts'
import type { Tables } from './schema.ts'

/** API tokens and join tokens. Only their SHA-256 is stored: a token has 192 random bits, which no guess finds. */
export class Tokens {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** Makes a token and answers it; it cannot be read again. `uses` null: any number of times. `expires` in epoch milliseconds. */
  async create(kind: 'api' | 'join', note: string, limits: { uses: number | null; expires: number | null }, now: number): Promise<string> {
    const token = `dploy_${kind}_${randomBytes(24).toString('base64url')}`
    await this.#db
      .insertInto('tokens')
      .values({ id: newId('tok'), kind, hash: hashOf(token), note, uses_left: limits.uses, expires_at: limits.expires, created_at: now })
      .execute()
    return token
  }

  async hasApiToken(): Promise<boolean> {
    return (await this.#db.selectFrom('tokens').select('id').where('kind', '=', 'api').executeTakeFirst()) !== undefined
  }

  async isApiToken(token: string, now: number): Promise<boolean> {
    const row = await this.#db.selectFrom('tokens').select(['expires_at']).where('kind', '=', 'api').where('hash', '=', hashOf(token)).executeTakeFirst()
    return row !== undefined && (row.expires_at === null || row.expires_at > now)
  }

  /** Uses up one use of a join token. Throws `agent.join_refused`; of two at the same time, one gets the last use. */
  async useJoinToken(token: string, now: number): Promise<void> {
    const used = await this.#db
      .updateTable('tokens')
      .set((eb) => ({ uses_left: eb('uses_left', '-', 1) }))
      .where('kind', '=', 'join')
      .where('hash', '=', hashOf(token))
      .where((eb) => eb.or([eb('uses_left', '>', 0), eb('uses_left', 'is', null)]))
      .where((eb) => eb.or([eb('expires_at', '>', now), eb('expires_at', 'is', null)]))
      .executeTakeFirst()
    if (used.numUpdatedRows !== 1n) throw new DployError('agent.join_refused', 'The join token is unknown, used up or expired')
  }
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}
