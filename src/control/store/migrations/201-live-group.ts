import { sql, type Kysely, type Migration } from 'kysely'

/** Which of two groups of servers serves, where the strategy is blue-green. */
export const liveGroup: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    await sql`alter table environments add column live_group text`.execute(db)
  },
}
