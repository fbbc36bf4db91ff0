import { sql, type Kysely, type Migration } from 'kysely'

/** What another person says to a deployment of a protected environment. */
export const approvals: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    for (const statement of [
      sql`alter table deployments add column requester text`,
      sql`alter table deployments add column approval text`,
      sql`alter table deployments add column approval_expires_at bigint`,
      sql`alter table deployments add column approval_by text`,
      sql`alter table deployments add column approval_at bigint`,
      sql`alter table deployments add column approval_note text`,
    ]) {
      await statement.execute(db)
    }
  },
}
