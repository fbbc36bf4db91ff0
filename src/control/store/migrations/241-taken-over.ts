import { sql, type Kysely, type Migration } from 'kysely'

/** What was taken over from servers that were ahead, until a person has looked; and which of their records is known here. */
export const takenOver: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    await sql`alter table environments add column taken_over text`.execute(db)
    await sql`alter table environments add column record_at bigint`.execute(db)
  },
}
