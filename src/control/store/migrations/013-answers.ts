import { sql, type Kysely, type Migration } from 'kysely'

/** Requests that came with an Idempotency-Key, and what they were answered. */
export const answers: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    await sql`
      create table answers (
        id text primary key,
        caller text not null,
        key text not null,
        request text not null,
        holder text not null,
        sealed text,
        created_at bigint not null,
        unique (caller, key)
      )`.execute(db)
    await sql`create index answers_by_time on answers (created_at)`.execute(db)
  },
}
