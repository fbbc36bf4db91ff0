import { sql, type Kysely, type Migration } from 'kysely'

/** Deployments that wait for a person in the middle. */
export const gates: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    for (const statement of [
      sql`alter table deployments add column pause_by text`,
      sql`alter table deployments add column waiting text`,
      sql`alter table deployments add column passed integer not null default -1`,
    ]) {
      await statement.execute(db)
    }
  },
}
