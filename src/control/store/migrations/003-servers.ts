import { sql, type Kysely, type Migration } from 'kysely'

/** What a person decides about a server, what a join token is limited to, and which servers dploy.yml does not list. */
export const servers: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    for (const statement of [
      sql`alter table servers add column next_public_key text`,
      sql`alter table servers add column locked_at bigint`,
      sql`alter table servers add column kept_out_since bigint`,
      sql`alter table servers add column kept_out_by text`,
      sql`alter table servers add column removed_at bigint`,
      sql`alter table environment_servers add column added integer not null default 0`,
      sql`alter table tokens add column environments text`,
      sql`alter table tokens add column tags text`,
      sql`alter table tokens add column server text`,
    ]) {
      await statement.execute(db)
    }
  },
}
