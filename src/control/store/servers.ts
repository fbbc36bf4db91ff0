import type { Kysely, Selectable } from 'kysely'
import { DployError } from '../../protocol/errors.ts'
import { newId } from '../../protocol/ids.ts'
import type { Tables } from './schema.ts'
import { Together } from './together.ts'
import type { JoinLimits } from './tokens.ts'

export interface Server {
  id: string
  name: string
  publicKey: string | null
  /** The key that takes the other's place once the agent has signed with it. */
  nextPublicKey: string | null
  facts: Record<string, unknown> | null
  lastSeenAt: number | null
  /** Since when it is refused because two machines hold its key. */
  lockedAt: number | null
  /** Who keeps it out of traffic, and since when. */
  keptOut: { since: number; by: string } | null
}

/** Queries over servers and their agents' keys. */
export class Servers {
  readonly #db: Kysely<Tables>
  readonly #together: Together

  constructor(db: Kysely<Tables>) {
    this.#db = db
    this.#together = new Together(db)
  }

  async all(): Promise<Server[]> {
    return (
      await this.#db.selectFrom('servers').selectAll().where('removed_at', 'is', null).orderBy('name').execute()
    ).map(serverOf)
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
   * Gives the server of this name the agent's key, makes it a member of the environments that its token is for, and
   * answers its id. Throws `agent.join_refused` if another agent's key stands there already: a name is not taken over
   * by a token alone; and if the token is for environments, whoever comes with it, and the server is in another.
   */
  async join(
    name: string,
    publicKey: string,
    now: number,
    limits: JoinLimits = { environments: [], tags: {}, server: null },
  ): Promise<string> {
    return this.#db.transaction().execute(async (trx) => {
      await trx
        .insertInto('servers')
        .values({ id: newId('srv'), name, public_key: null, facts: null, last_seen_at: null, created_at: now })
        .onConflict((oc) => oc.column('name').doNothing())
        .execute()
      const row = await trx.selectFrom('servers').selectAll().where('name', '=', name).executeTakeFirstOrThrow()
      if (row.public_key !== null && row.public_key !== publicKey) {
        throw new DployError('agent.join_refused', `The server ${name} already has an agent with another key`, {
          where: name,
          fix: `Choose another name, start the agent with its former state directory, or forget the key: dploy server rotate-key ${name}`,
        })
      }
      // A token for this very name was made by somebody who meant this server; and who has its key already gains nothing.
      if (limits.environments.length > 0 && limits.server !== name && row.public_key === null)
        await this.#refuseOutside(trx, row.id, name, limits.environments)
      await trx
        .updateTable('servers')
        .set({ public_key: publicKey, next_public_key: null, locked_at: null })
        .where('id', '=', row.id)
        .execute()
      for (const environment of limits.environments) await addMember(trx, row.id, environment, limits.tags)
      return row.id
    })
  }

  /** Makes it a member of an environment, with these tags beside those it has there. Answers the tags; those of a server that dploy.yml lists stay as they stand there. */
  async addTo(
    id: string,
    environmentId: string,
    tags: Record<string, string>,
  ): Promise<{ listed: boolean; tags: Record<string, string> }> {
    return this.#db.transaction().execute((trx) => addMember(trx, id, environmentId, tags))
  }

  /** Who may join one environment gets nothing of another that has this server on its list. Throws `agent.join_refused`. */
  async #refuseOutside(trx: Kysely<Tables>, id: string, name: string, environments: readonly string[]): Promise<void> {
    const other = await trx
      .selectFrom('environment_servers')
      .innerJoin('environments', 'environments.id', 'environment_servers.environment_id')
      .innerJoin('applications', 'applications.id', 'environments.application_id')
      .select(['environments.name', 'applications.name as application'])
      .where('server_id', '=', id)
      .where('environment_id', 'not in', environments)
      .executeTakeFirst()
    if (!other) return
    throw new DployError(
      'agent.join_refused',
      `The token is for other environments, and the server ${name} belongs to ${other.name} of ${other.application}`,
      { where: name, fix: `Choose another name, or add it by its name: dploy server add ${name}` },
    )
  }

  async seen(id: string, facts: Record<string, unknown>, now: number): Promise<void> {
    await this.#together.write((trx) =>
      trx
        .updateTable('servers')
        .set({ facts: JSON.stringify(facts), last_seen_at: now })
        .where('id', '=', id)
        .execute(),
    )
  }

  /** Resolves once it is stored who was seen, and until when. */
  settled(): Promise<void> {
    return this.#together.settled()
  }

  /** Its agent was connected until now. */
  async gone(id: string, now: number): Promise<void> {
    await this.#together.write((trx) =>
      trx.updateTable('servers').set({ last_seen_at: now }).where('id', '=', id).execute(),
    )
  }

  /** Refuses its agents from now on; `now` null: no longer. */
  async lock(id: string, now: number | null): Promise<void> {
    await this.#db.updateTable('servers').set({ locked_at: now }).where('id', '=', id).execute()
  }

  /** Keeps it out of traffic; null: no longer. */
  async keepOut(id: string, keptOut: { since: number; by: string } | null): Promise<void> {
    await this.#db
      .updateTable('servers')
      .set({ kept_out_since: keptOut?.since ?? null, kept_out_by: keptOut?.by ?? null })
      .where('id', '=', id)
      .execute()
  }

  /** Ids of all that a person keeps out of traffic. */
  async keptOut(): Promise<Set<string>> {
    const rows = await this.#db.selectFrom('servers').select('id').where('kept_out_since', 'is not', null).execute()
    return new Set(rows.map(({ id }) => id))
  }

  /** The key that its agent made to take the place of the present one. */
  async offerKey(id: string, publicKey: string): Promise<void> {
    await this.#db.updateTable('servers').set({ next_public_key: publicKey }).where('id', '=', id).execute()
  }

  /** The offered key is the server's key from now on. */
  async takeKey(id: string, publicKey: string): Promise<void> {
    await this.#db
      .updateTable('servers')
      .set({ public_key: publicKey, next_public_key: null })
      .where('id', '=', id)
      .where('next_public_key', '=', publicKey)
      .execute()
  }

  /** Nobody holds its key any more: the next agent joins under one of its own. */
  async forgetKey(id: string): Promise<void> {
    await this.#db
      .updateTable('servers')
      .set({ public_key: null, next_public_key: null, locked_at: null })
      .where('id', '=', id)
      .execute()
  }

  /** Throws `request.invalid` if the name is taken. */
  async rename(id: string, name: string): Promise<void> {
    if (await this.named(name))
      throw new DployError('request.invalid', `There is a server ${name} already`, {
        where: name,
        fix: 'Choose another name, or remove that one first',
      })
    await this.#db.updateTable('servers').set({ name }).where('id', '=', id).execute()
  }

  /** Takes it out of every environment and frees its name; deployments keep what they know of it. */
  async remove(id: string, now: number): Promise<void> {
    await this.#db.transaction().execute(async (trx) => {
      await trx.deleteFrom('environment_servers').where('server_id', '=', id).execute()
      await trx.deleteFrom('sightings').where('server_id', '=', id).execute()
      const { name } = await trx.selectFrom('servers').select('name').where('id', '=', id).executeTakeFirstOrThrow()
      await trx
        .updateTable('servers')
        .set({ name: `${name} (removed, ${id})`, public_key: null, next_public_key: null, removed_at: now })
        .where('id', '=', id)
        .execute()
    })
  }

  /** The environments of a server by id, and whether a dploy.yml lists it there. */
  async memberships(id: string): Promise<{ environment: string; listed: boolean; tags: Record<string, string> }[]> {
    const rows = await this.#db
      .selectFrom('environment_servers')
      .select(['environment_id', 'added', 'tags'])
      .where('server_id', '=', id)
      .execute()
    return rows.map((row) => ({
      environment: row.environment_id,
      listed: row.added === 0,
      tags: JSON.parse(row.tags) as Record<string, string>,
    }))
  }
}

async function addMember(
  trx: Kysely<Tables>,
  id: string,
  environmentId: string,
  tags: Record<string, string>,
): Promise<{ listed: boolean; tags: Record<string, string> }> {
  const present = await trx
    .selectFrom('environment_servers')
    .select(['tags', 'added'])
    .where('server_id', '=', id)
    .where('environment_id', '=', environmentId)
    .executeTakeFirst()
  if (!present) {
    await trx
      .insertInto('environment_servers')
      .values({
        environment_id: environmentId,
        server_id: id,
        position: 0,
        address: null,
        port: null,
        tags: JSON.stringify(tags),
        added: 1,
      })
      .execute()
    return { listed: false, tags }
  }
  const before = JSON.parse(present.tags) as Record<string, string>
  if (present.added === 0) return { listed: true, tags: before }
  const all = { ...before, ...tags }
  await trx
    .updateTable('environment_servers')
    .set({ tags: JSON.stringify(all) })
    .where('server_id', '=', id)
    .where('environment_id', '=', environmentId)
    .execute()
  return { listed: false, tags: all }
}

type Row = Selectable<Tables['servers']>

function serverOf(row: Row): Server {
  return {
    id: row.id,
    name: row.name,
    publicKey: row.public_key,
    nextPublicKey: row.next_public_key,
    facts: row.facts === null ? null : (JSON.parse(row.facts) as Record<string, unknown>),
    lastSeenAt: row.last_seen_at,
    lockedAt: row.locked_at,
    keptOut: row.kept_out_since === null ? null : { since: row.kept_out_since, by: row.kept_out_by ?? 'unknown' },
  }
}
