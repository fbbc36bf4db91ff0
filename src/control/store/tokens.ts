import { createHash, randomBytes } from 'node:crypto'
import type { Kysely } from 'kysely'
import { DployError } from '../../protocol/errors.ts'
import { newId } from '../../protocol/ids.ts'
import type { Tables } from './schema.ts'

/** What a join token lets do. */
export interface JoinLimits {
  /** Ids of the environments that servers become members of. */
  environments: string[]
  tags: Record<string, string>
  /** The only name under which it lets join; null: any. */
  server: string | null
}

/** API tokens and join tokens. Only their SHA-256 is stored: a token has 192 random bits, which no guess finds. */
export class Tokens {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** Makes a token and answers it; it cannot be read again. `uses` null: any number of times. `expires` in epoch milliseconds. */
  async create(kind: 'api' | 'join', note: string, limits: { uses: number | null; expires: number | null } & Partial<JoinLimits>, now: number): Promise<string> {
    const token = `dploy_${kind}_${randomBytes(24).toString('base64url')}`
    await this.#db
      .insertInto('tokens')
      .values({ id: newId('tok'), kind, hash: hashOf(token), note, uses_left: limits.uses, expires_at: limits.expires, created_at: now,
        environments: limits.environments === undefined ? null : JSON.stringify(limits.environments), tags: limits.tags === undefined ? null : JSON.stringify(limits.tags), server: limits.server ?? null })
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

  /**
   * Uses up one use of a join token and answers what it lets do; of two at the same time, one gets the last use. `again`:
   * the same agent asks once more because it got no answer, which uses nothing up. Throws `agent.join_refused`.
   */
  async useJoinToken(token: string, name: string, now: number, again = false): Promise<JoinLimits> {
    const used = await this.#db
      .updateTable('tokens')
      .set((eb) => ({ uses_left: again ? eb.ref('uses_left') : eb('uses_left', '-', 1) }))
      .where('kind', '=', 'join')
      .where('hash', '=', hashOf(token))
      .where((eb) => (again ? eb.and([]) : eb.or([eb('uses_left', '>', 0), eb('uses_left', 'is', null)])))
      .where((eb) => eb.or([eb('expires_at', '>', now), eb('expires_at', 'is', null)]))
      .where((eb) => eb.or([eb('server', '=', name), eb('server', 'is', null)]))
      .returning(['environments', 'tags', 'server'])
      .executeTakeFirst()
    if (!used) throw new DployError('agent.join_refused', 'The join token is unknown, used up or expired, or for another server')
    return { environments: JSON.parse(used.environments ?? '[]') as string[], tags: JSON.parse(used.tags ?? '{}') as Record<string, string>, server: used.server }
  }
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}
