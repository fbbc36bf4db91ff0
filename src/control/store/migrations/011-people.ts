import { sql, type Kysely, type Migration } from 'kysely'

/** Who may do what, and who did it. Of links, sessions and tokens only the SHA-256 is kept. */
export const people: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    for (const statement of [
      sql`create table people (
        id text primary key, email text not null unique, name text not null, password text, created_at bigint not null, seen_at bigint)`,
      sql`create table grants (
        person_id text not null references people(id) on delete cascade, environment_id text references environments(id), role text not null)`,
      sql`create index grants_by_person on grants (person_id)`,
      sql`create table sessions (
        id text primary key, person_id text not null references people(id) on delete cascade, hash text not null unique,
        previous_hash text, previous_until bigint, rotated_at bigint not null, created_at bigint not null, seen_at bigint not null,
        expires_at bigint not null, address text not null, browser text not null)`,
      sql`create index sessions_by_person on sessions (person_id)`,
      sql`create index sessions_by_previous on sessions (previous_hash)`,
      sql`create table links (
        hash text primary key, kind text not null, person_id text references people(id) on delete cascade, expires_at bigint not null)`,
      sql`alter table tokens add column scope text`,
      sql`alter table tokens add column person_id text references people(id)`,
      sql`alter table tokens add column used_at bigint`,
      sql`create table audit (
        seq integer primary key autoincrement, at bigint not null, who text not null, kind text not null, address text not null,
        action text not null, environment_id text, application text, environment text, subject text, outcome text not null,
        problem text, before text, after text)`,
      sql`create index audit_by_environment on audit (environment_id, seq)`,
      sql`insert into audit (at, who, kind, address, action, environment_id, application, environment, subject, outcome, problem, before, after)
        select runs.started_at, runs.requested_by, 'local', '', runs.kind, runs.environment_id, applications.name, environments.name, runs.id,
          case when runs.finished_at is null then 'begun' else 'done' end, null, null, null
        from runs join environments on environments.id = runs.environment_id join applications on applications.id = environments.application_id
        order by runs.started_at`,
    ]) {
      await statement.execute(db)
    }
  },
}
