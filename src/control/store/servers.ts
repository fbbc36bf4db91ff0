import type { Kysely } from 'kysely'
import { DployError } from '../../protocol/errors.ts'
import { newId } from '../../protocol/ids.ts'
import type { Tables } from './schema.ts'

export interface Server {
  id: string
  name: string
  publicKey: string | null
  facts: Record<string, unknown> | null
  lastSeenAt: number | null
}

/** Queries over servers and their agents' keys. */
export class Servers {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  async all(): Promise<Server[]> {
    return (await this.#db.selectFrom('servers').selectAll().orderBy('name').execute()).map(serverOf)
  }

  /** Null if there is none. */
  async find(id: string): Promise<Server | null> {
    const row = await this.#db.selectFrom('servers').selectAll().where('id', '=', id).executeTakeFirst()
    return row ? serverOf(row) : null
  }

  /** Null if there is none of this name. */
  async named(name: string): Promise<Server | null> {
    const row = await this.#db.selectFrom('servers').selectAll().where('name', '=', name).executeTakeFirst()
    return row ? serverOf(row) : null
  }

  /**
   * Gives the server of this name the agent's key and answers its id. Throws `agent.join_refused` if another agent's
   * key stands there already: a name is not taken over by a token alone.
   */
  async join(name: string, publicKey: string, now: number): Promise<string> {
    return this.#db.transaction().execute(async (trx) => {
      await trx
        .insertInto('servers')
        .values({ id: newId('srv'), name, public_key: null, facts: null, last_seen_at: null, created_at: now })
        .onConflict((oc) => oc.column('name').doNothing())
        .execute()
      const row = await trx.selectFrom('servers').selectAll().where('name', '=', name).executeTakeFirstOrThrow()
      if (row.public_key !== null && row.public_key !== publicKey) {
        throw new DployError('agent.join_refused', `The server ${name} already has an agent with another key`, { where: name, fix: 'Choose another name, or start the agent with its former state directory' })
      }
      await trx.updateTable('servers').set({ public_key: publicKey }).where('id', '=', row.id).execute()
      return row.id
    })
  }

  async seen(id: string, facts: Record<string, unknown>, now: number): Promise<void> {
    await this.#db.updateTable('servers').set({ facts: JSON.stringify(facts), last_seen_at: now }).where('id', '=', id).execute()
  }
}

function serverOf(row: Tables['servers']): Server {
  return {
    id: row.id,
    name: row.name,
    publicKey: row.public_key,
    facts: row.facts === null ? null : (JSON.parse(row.facts) as Record<string, unknown>),
    lastSeenAt: row.last_seen_at,
  }
}
