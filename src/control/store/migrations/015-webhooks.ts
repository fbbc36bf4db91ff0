import { sql, type Kysely, type Migration } from 'kysely'

/**
 * Webhooks in: a row for each, and one for each message that came. Notifications out: where they go, what waits to be sent
 * (an outbox), how far the events were read, and which servers are known to be gone.
 */
export const webhooks: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    await sql`create table webhooks (
      id text primary key, service text not null, note text not null, application text, environments text, sealed text not null,
      created_at bigint not null, created_by text not null)`.execute(db)
    await sql`create table deliveries (
      id text primary key, webhook_id text not null references webhooks(id), delivery text not null, event text not null, received_at bigint not null,
      state text not null, reason text not null, push text, results text not null)`.execute(db)
    await sql`create unique index deliveries_once on deliveries (webhook_id, delivery)`.execute(db)
    await sql`create index deliveries_waiting on deliveries (state)`.execute(db)
    await sql`create table notify_targets (
      id text primary key, environment_id text not null references environments(id), key text not null, name text not null,
      failing_since bigint, disabled_at bigint, reason text, delivered_at bigint)`.execute(db)
    await sql`create unique index notify_targets_key on notify_targets (environment_id, key)`.execute(db)
    await sql`create table outbox (
      id text primary key, target_id text not null references notify_targets(id), about text not null, moment text not null, payload text not null,
      state text not null, attempts integer not null, next_at bigint not null, problem text, created_at bigint not null, ended_at bigint)`.execute(
      db,
    )
    await sql`create unique index outbox_once on outbox (target_id, about, moment)`.execute(db)
    await sql`create index outbox_due on outbox (state, next_at)`.execute(db)
    await sql`create table notify_cursor (id integer primary key, seq bigint not null)`.execute(db)
    // Nobody is told now of what happened before.
    await sql`insert into notify_cursor (id, seq) select 1, coalesce(max(seq), 0) from events`.execute(db)
    await sql`create table gone_servers (server_id text primary key references servers(id), since bigint not null)`.execute(
      db,
    )
  },
}
