import type { Kysely } from 'kysely'
import { DployError } from '../../protocol/errors.ts'
import { newId } from '../../protocol/ids.ts'
import type { SecretBox } from '../secrets/secret-box.ts'
import type { Tables } from './schema.ts'

/** Of a secret, all that is ever shown. */
export interface SecretSummary {
  name: string
  /** Epoch milliseconds. */
  setAt: number
  setBy: string
}

/** Queries over secrets. Values are sealed; a replaced one stays for the releases that were made with it. */
export class Secrets {
  readonly #db: Kysely<Tables>
  readonly #box: SecretBox

  constructor(db: Kysely<Tables>, box: SecretBox) {
    this.#db = db
    this.#box = box
  }

  /** Sets the value that the next release gets. */
  async set(environmentId: string, name: string, value: string, by: string, now: number): Promise<void> {
    const id = newId('sec')
    await this.#db.transaction().execute(async (trx) => {
      await trx
        .updateTable('secrets')
        .set({ replaced_at: now })
        .where('environment_id', '=', environmentId)
        .where('name', '=', name)
        .where('replaced_at', 'is', null)
        .execute()
      await trx
        .insertInto('secrets')
        .values({
          id,
          environment_id: environmentId,
          name,
          sealed: this.#box.seal(value, id),
          set_by: by,
          created_at: now,
          replaced_at: null,
        })
        .execute()
    })
  }

  /** Forgets a secret with all its values. Servers keep those of the releases that they keep. Throws `secret.unknown`. */
  async remove(environmentId: string, name: string): Promise<void> {
    const { numDeletedRows } = await this.#db
      .deleteFrom('secrets')
      .where('environment_id', '=', environmentId)
      .where('name', '=', name)
      .executeTakeFirst()
    if (numDeletedRows === 0n) throw new DployError('secret.unknown', `There is no secret ${name} in this environment`)
  }

  /** By name. */
  async list(environmentId: string): Promise<SecretSummary[]> {
    const rows = await this.#db
      .selectFrom('secrets')
      .select(['name', 'created_at', 'set_by'])
      .where('environment_id', '=', environmentId)
      .where('replaced_at', 'is', null)
      .orderBy('name')
      .execute()
    return rows.map((row) => ({ name: row.name, setAt: row.created_at, setBy: row.set_by }))
  }

  /** Ids of the current values of these names. Throws `secret.missing` with all that are not set. */
  async current(environmentId: string, names: readonly string[], place: string): Promise<Record<string, string>> {
    if (names.length === 0) return {}
    const rows = await this.#db
      .selectFrom('secrets')
      .select(['id', 'name'])
      .where('environment_id', '=', environmentId)
      .where('name', 'in', names)
      .where('replaced_at', 'is', null)
      .execute()
    const ids = new Map(rows.map((row) => [row.name, row.id]))
    const missing = names.filter((name) => !ids.has(name))
    if (missing.length > 0) {
      throw new DployError(
        'secret.missing',
        `dploy.yml asks for secrets that ${place} does not have: ${missing.join(', ')}`,
        { where: place, fix: `Run: dploy secret set ${place.split('/').at(-1)} ${missing[0]}` },
      )
    }
    return Object.fromEntries(names.map((name) => [name, ids.get(name)!]))
  }

  /** The values behind such ids, by name, of those that are still here. Throws `secret.unreadable`. */
  async here(ids: Readonly<Record<string, string>>): Promise<Record<string, string>> {
    const wanted = Object.entries(ids)
    if (wanted.length === 0) return {}
    const rows = await this.#db
      .selectFrom('secrets')
      .select(['id', 'sealed'])
      .where('id', 'in', Object.values(ids))
      .execute()
    const sealed = new Map(rows.map((row) => [row.id, row.sealed]))
    return Object.fromEntries(
      wanted.flatMap(([name, id]) => (sealed.has(id) ? [[name, this.#box.unseal(sealed.get(id)!, id)]] : [])),
    )
  }

  /** All the values behind such ids, by name. Throws `secret.missing` when one was removed, and `secret.unreadable`. */
  async values(ids: Readonly<Record<string, string>>): Promise<Record<string, string>> {
    const values = await this.here(ids)
    const gone = Object.keys(ids).filter((name) => values[name] === undefined)
    if (gone.length > 0)
      throw new DployError('secret.missing', `The values of these secrets were removed: ${gone.join(', ')}`, {
        fix: 'Set them, and deploy the revision again',
      })
    return values
  }
}
