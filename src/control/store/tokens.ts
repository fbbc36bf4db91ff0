import { createHash, randomBytes } from 'node:crypto'
import type { Kysely, Selectable } from 'kysely'
import { rightSchema, type Right } from '../../protocol/api/access.ts'
import type { Token } from '../../protocol/api/tokens.ts'
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

/** What an API token lets do. */
export interface ApiToken {
  id: string
  note: string
  right: Right
  /** Ids of the environments in which it holds; null: in all. */
  environments: string[] | null
  /** Whose it is; null: it was made on the control plane's machine. */
  person: string | null
  expiresAt: number | null
}

/** How exactly it is known when a token was used last. Milliseconds. */
const usedEvery = 60_000

/** API tokens and join tokens. Only their SHA-256 is stored: a token has 192 random bits, which no guess finds. */
export class Tokens {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** Makes a token and answers it; it cannot be read again. `uses` null: any number of times. `expires` in epoch milliseconds. */
  async create(
    kind: 'api' | 'join',
    note: string,
    limits: { uses: number | null; expires: number | null } & Partial<JoinLimits>,
    now: number,
  ): Promise<string> {
    const token = `dploy_${kind}_${randomBytes(24).toString('base64url')}`
    await this.#db
      .insertInto('tokens')
      .values({
        id: newId('tok'),
        kind,
        hash: hashOf(token),
        note,
        uses_left: limits.uses,
        expires_at: limits.expires,
        created_at: now,
        environments: limits.environments === undefined ? null : JSON.stringify(limits.environments),
        tags: limits.tags === undefined ? null : JSON.stringify(limits.tags),
        server: limits.server ?? null,
      })
      .execute()
    return token
  }

  async hasApiToken(): Promise<boolean> {
    return (await this.#db.selectFrom('tokens').select('id').where('kind', '=', 'api').executeTakeFirst()) !== undefined
  }

  /** Makes an API token and answers it with its id; it cannot be read again. Times in epoch milliseconds. */
  async createApi(token: Omit<ApiToken, 'id'>, now: number): Promise<{ id: string; token: string }> {
    const [id, text] = [newId('tok'), `dploy_api_${randomBytes(24).toString('base64url')}`]
    await this.#db
      .insertInto('tokens')
      .values({
        id,
        kind: 'api',
        hash: hashOf(text),
        note: token.note,
        uses_left: null,
        expires_at: token.expiresAt,
        created_at: now,
        scope: token.right,
        person_id: token.person,
        environments: token.environments === null ? null : JSON.stringify(token.environments),
      })
      .execute()
    return { id, token: text }
  }

  /** What an API token lets do; null if it is none, or has expired. */
  async useApiToken(token: string, now: number): Promise<ApiToken | null> {
    const row = await this.#db
      .selectFrom('tokens')
      .selectAll()
      .where('kind', '=', 'api')
      .where('hash', '=', hashOf(token))
      .executeTakeFirst()
    if (!row || (row.expires_at !== null && row.expires_at <= now)) return null
    if (row.used_at === null || now - row.used_at >= usedEvery)
      await this.#db.updateTable('tokens').set({ used_at: now }).where('id', '=', row.id).execute()
    return apiTokenOf(row)
  }

  /** The same by its id. */
  async findApiToken(id: string, now: number): Promise<ApiToken | null> {
    const row = await this.#db
      .selectFrom('tokens')
      .selectAll()
      .where('kind', '=', 'api')
      .where('id', '=', id)
      .executeTakeFirst()
    return row && (row.expires_at === null || row.expires_at > now) ? apiTokenOf(row) : null
  }

  /** API tokens as the API shows them, the newest first: everybody's, or those of a person; or one. */
  async list(filter: { person?: string; id?: string } = {}): Promise<Token[]> {
    const rows = await this.#db
      .selectFrom('tokens')
      .leftJoin('people', 'people.id', 'tokens.person_id')
      .selectAll('tokens')
      .select('people.name')
      .where('kind', '=', 'api')
      .$if(filter.person !== undefined, (query) => query.where('person_id', '=', filter.person!))
      .$if(filter.id !== undefined, (query) => query.where('tokens.id', '=', filter.id!))
      .orderBy('tokens.created_at', 'desc')
      .execute()
    const environments = await this.#db
      .selectFrom('environments')
      .innerJoin('applications', 'applications.id', 'environments.application_id')
      .select(['environments.id', 'environments.name', 'applications.name as application'])
      .execute()
    const places = new Map(environments.map((one) => [one.id, { application: one.application, environment: one.name }]))
    return rows.map((row) => ({
      id: row.id,
      note: row.note,
      right: rightSchema.parse(row.scope ?? 'administer'),
      places:
        row.environments === null
          ? null
          : (JSON.parse(row.environments) as string[]).flatMap((id) => places.get(id) ?? []),
      owner: row.person_id === null ? null : { person: row.person_id, name: row.name ?? '' },
      createdAt: row.created_at,
      expiresAt: row.expires_at,
      usedAt: row.used_at,
    }))
  }

  /** Ends an API token; `person`: only if it is theirs. Throws `token.unknown`. */
  async revoke(id: string, person: string | null): Promise<void> {
    const { numDeletedRows } = await this.#db
      .deleteFrom('tokens')
      .where('kind', '=', 'api')
      .where('id', '=', id)
      .$if(person !== null, (query) => query.where('person_id', '=', person!))
      .executeTakeFirst()
    if (numDeletedRows !== 1n) throw new DployError('token.unknown', `There is no token ${id}`)
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
    if (!used)
      throw new DployError('agent.join_refused', 'The join token is unknown, used up or expired, or for another server')
    return {
      environments: JSON.parse(used.environments ?? '[]') as string[],
      tags: JSON.parse(used.tags ?? '{}') as Record<string, string>,
      server: used.server,
    }
  }
}

function apiTokenOf(row: Selectable<Tables['tokens']>): ApiToken {
  return {
    id: row.id,
    note: row.note,
    right: rightSchema.parse(row.scope ?? 'administer'),
    environments: row.environments === null ? null : (JSON.parse(row.environments) as string[]),
    person: row.person_id,
    expiresAt: row.expires_at,
  }
}

export function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}
