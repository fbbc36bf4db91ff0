import { sql, type Kysely, type Migration } from 'kysely'

/** A row per value that a secret has had: releases name the row that was current when they were made. */
export const secrets: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    await sql`create table secrets (
      id text primary key, environment_id text not null references environments(id), name text not null, sealed text not null,
      set_by text not null, created_at bigint not null, replaced_at bigint)`.execute(db)
    await sql`create unique index secrets_current on secrets (environment_id, name) where replaced_at is null`.execute(
      db,
    )
  },
}
