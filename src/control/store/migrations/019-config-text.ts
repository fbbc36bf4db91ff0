import { sql, type Kysely, type Migration } from 'kysely'

/** The dploy.yml as it was sent, for people to read beside what it means. */
export const configText: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    for (const statement of [
      sql`alter table environments add column config_text text`,
      sql`alter table environments add column config_file text`,
      sql`alter table environments add column config_by text`,
    ]) {
      await statement.execute(db)
    }
  },
}
