import { sql, type Kysely, type Migration } from 'kysely'

/** What a server was last seen to run in an environment, so that it is known of one that is away. */
export const sightings: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    await sql`create table sightings (
      environment_id text not null references environments (id),
      server_id text not null references servers (id),
      seen_at bigint not null,
      release_number integer,
      service text not null,
      primary key (environment_id, server_id)
    )`.execute(db)
  },
}
