import type { Kysely, Transaction } from 'kysely'
import type { Grant, Role } from '../../protocol/api/access.ts'
import type { Person } from '../../protocol/api/people.ts'
import { DployError } from '../../protocol/errors.ts'
import { newId } from '../../protocol/ids.ts'
import type { Tables } from './schema.ts'

/** A role in an environment by its id; null: everywhere. */
export interface GrantRow {
  role: Role
  environment: string | null
}

export interface PersonRow {
  id: string
  email: string
  name: string
  /** PHC string; null: none chosen yet. */
  password: string | null
}

/** Queries over people and their roles. */
export class People {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** Whether somebody with a password is administrator of everything. */
  async hasAdministrator(): Promise<boolean> {
    return (await administrators(this.#db)).length > 0
  }

  async byEmail(email: string): Promise<PersonRow | null> {
    return (
      (await this.#db
        .selectFrom('people')
        .select(['id', 'email', 'name', 'password'])
        .where('email', '=', email.toLowerCase())
        .executeTakeFirst()) ?? null
    )
  }

  async find(id: string): Promise<PersonRow | null> {
    return (
      (await this.#db
        .selectFrom('people')
        .select(['id', 'email', 'name', 'password'])
        .where('id', '=', id)
        .executeTakeFirst()) ?? null
    )
  }

  /** Throws `person.unknown`. */
  async get(id: string): Promise<PersonRow> {
    const person = await this.find(id)
    if (!person) throw new DployError('person.unknown', `There is no person ${id}`)
    return person
  }

  async grantsOf(id: string): Promise<GrantRow[]> {
    const rows = await this.#db
      .selectFrom('grants')
      .select(['role', 'environment_id'])
      .where('person_id', '=', id)
      .execute()
    return rows.map((row) => ({ role: row.role as Role, environment: row.environment_id }))
  }

  /** Adds a person, without a password. Throws `person.exists`. */
  async add(person: { email: string; name: string; grants: readonly GrantRow[] }, now: number): Promise<string> {
    const id = newId('per')
    await this.#db.transaction().execute(async (trx) => {
      const { numInsertedOrUpdatedRows } = await trx
        .insertInto('people')
        .values({
          id,
          email: person.email.toLowerCase(),
          name: person.name,
          password: null,
          created_at: now,
          seen_at: null,
        })
        .onConflict((oc) => oc.column('email').doNothing())
        .executeTakeFirst()
      if (numInsertedOrUpdatedRows !== 1n)
        throw new DployError('person.exists', `There is somebody with the address ${person.email} already`, {
          where: 'email',
        })
      await writeGrants(trx, id, person.grants)
    })
    return id
  }

  /** The first administrator. Throws `link.invalid` if there is one already, also of two at the same time. */
  async addFirst(person: { email: string; name: string; password: string }, now: number): Promise<string> {
    const id = newId('per')
    await this.#db.transaction().execute(async (trx) => {
      if ((await administrators(trx)).length > 0)
        throw new DployError('link.invalid', 'There is an administrator already')
      await trx.deleteFrom('people').where('email', '=', person.email).where('password', 'is', null).execute()
      if (await trx.selectFrom('people').select('id').where('email', '=', person.email).executeTakeFirst())
        throw new DployError('person.exists', `There is somebody with the address ${person.email} already`, {
          where: 'email',
        })
      await trx
        .insertInto('people')
        .values({
          id,
          email: person.email,
          name: person.name,
          password: person.password,
          created_at: now,
          seen_at: now,
        })
        .execute()
      await writeGrants(trx, id, [{ role: 'administrator', environment: null }])
    })
    return id
  }

  /** Replaces what a person may do. Throws `person.last_administrator`. */
  async setGrants(id: string, grants: readonly GrantRow[]): Promise<void> {
    await this.#keepingAdministrator(async (trx) => {
      await trx.deleteFrom('grants').where('person_id', '=', id).execute()
      await writeGrants(trx, id, grants)
    })
  }

  /** Removes a person with sessions and tokens. Throws `person.last_administrator`. */
  async remove(id: string): Promise<void> {
    await this.#keepingAdministrator(async (trx) => {
      await trx.deleteFrom('tokens').where('person_id', '=', id).execute()
      await trx.deleteFrom('people').where('id', '=', id).execute()
    })
  }

  /** `password`: a PHC string. */
  async setPassword(id: string, password: string): Promise<void> {
    await this.#db.updateTable('people').set({ password }).where('id', '=', id).execute()
  }

  async seen(id: string, now: number): Promise<void> {
    await this.#db.updateTable('people').set({ seen_at: now }).where('id', '=', id).execute()
  }

  /** Everybody, or one, as the API shows them. */
  async present(id?: string): Promise<Person[]> {
    const rows = await this.#db
      .selectFrom('people')
      .selectAll()
      .$if(id !== undefined, (query) => query.where('id', '=', id!))
      .orderBy('name')
      .orderBy('email')
      .execute()
    const grants = await this.#db
      .selectFrom('grants')
      .leftJoin('environments', 'environments.id', 'grants.environment_id')
      .leftJoin('applications', 'applications.id', 'environments.application_id')
      .select([
        'grants.person_id',
        'grants.role',
        'environments.name as environment',
        'applications.name as application',
      ])
      .execute()
    return rows.map((row) => ({
      id: row.id,
      email: row.email,
      name: row.name,
      createdAt: row.created_at,
      seenAt: row.seen_at,
      invited: row.password === null,
      grants: grants
        .filter((grant) => grant.person_id === row.id)
        .map(({ role, application, environment }): Grant => ({
          role: role as Role,
          place: application === null || environment === null ? null : { application, environment },
        })),
    }))
  }

  /** A change after which nobody would be administrator does not happen, unless nobody was before. */
  async #keepingAdministrator(change: (trx: Transaction<Tables>) => Promise<void>): Promise<void> {
    await this.#db.transaction().execute(async (trx) => {
      const before = await administrators(trx)
      await change(trx)
      if (before.length > 0 && (await administrators(trx)).length === 0)
        throw new DployError('person.last_administrator')
    })
  }
}

async function administrators(db: Kysely<Tables>): Promise<string[]> {
  const rows = await db
    .selectFrom('grants')
    .innerJoin('people', 'people.id', 'grants.person_id')
    .select('people.id')
    .where('role', '=', 'administrator')
    .where('environment_id', 'is', null)
    .where('people.password', 'is not', null)
    .execute()
  return rows.map((row) => row.id)
}

async function writeGrants(trx: Transaction<Tables>, id: string, grants: readonly GrantRow[]): Promise<void> {
  for (const { role, environment } of grants)
    await trx.insertInto('grants').values({ person_id: id, environment_id: environment, role }).execute()
}
