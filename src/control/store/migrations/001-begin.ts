import { sql, type Kysely, type Migration } from 'kysely'

/** Ids and JSON are text, times bigint, so that PostgreSQL can hold the same; only the key of events is written differently there. */
export const begin: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    for (const statement of [
      sql`create table applications (id text primary key, name text not null unique, created_at bigint not null)`,
      sql`create table environments (
        id text primary key, application_id text not null references applications(id), name text not null,
        config text not null, base text, wanted_release_id text, fence bigint not null default 0,
        created_at bigint not null, updated_at bigint not null, unique (application_id, name))`,
      sql`create table servers (
        id text primary key, name text not null unique, public_key text, facts text, last_seen_at bigint, created_at bigint not null)`,
      sql`create table environment_servers (
        environment_id text not null references environments(id), server_id text not null references servers(id),
        position integer not null, address text, port integer, tags text not null, primary key (environment_id, server_id))`,
      sql`create table artifacts (digest text primary key, created_at bigint not null)`,
      sql`create table releases (
        id text primary key, environment_id text not null references environments(id), number integer not null,
        artifact text not null, spec text not null, created_at bigint not null, unique (environment_id, number))`,
      sql`create table deployments (
        id text primary key, environment_id text not null references environments(id), number integer not null unique,
        kind text not null, state text not null, request text not null, config text not null, base text, revision text,
        release_id text references releases(id), from_release_id text references releases(id), plan text, failure text,
        requested_by text not null, fence bigint not null, cancel_requested integer not null default 0,
        created_at bigint not null, started_at bigint, finished_at bigint)`,
      sql`create index deployments_by_environment on deployments (environment_id, number)`,
      sql`create table steps (
        deployment_id text not null references deployments(id), server_id text not null references servers(id),
        batch integer, state text not null, spans text not null, bytes bigint not null, objects integer not null, failure text,
        primary key (deployment_id, server_id))`,
      sql`create table events (
        seq integer primary key autoincrement, deployment_id text not null references deployments(id),
        at bigint not null, server_id text, data text not null)`,
      sql`create index events_by_deployment on events (deployment_id, seq)`,
      sql`create table receipts (deployment_id text primary key references deployments(id), receipt text not null)`,
      sql`create table locks (
        environment_id text primary key references environments(id), deployment_id text not null references deployments(id),
        holder text not null, fence bigint not null, acquired_at bigint not null, expires_at bigint not null)`,
      sql`create table tokens (
        id text primary key, kind text not null, hash text not null unique, note text not null, uses_left integer,
        expires_at bigint, created_at bigint not null)`,
    ]) {
      await statement.execute(db)
    }
  },
}
