import { sql, type Kysely, type Migration } from 'kysely'

/** Every command, terminal and copy that a person asked for, and what came of it. */
export const runs: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    await sql`create table runs (
      id text primary key, environment_id text not null references environments(id), kind text not null, command text not null,
      requested_by text not null, outcomes text not null, started_at bigint not null, finished_at bigint)`.execute(db)
    await sql`create index runs_by_environment on runs (environment_id, started_at)`.execute(db)
  },
}
