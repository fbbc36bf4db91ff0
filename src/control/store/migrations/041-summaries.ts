import { sql, type Kysely, type Migration } from 'kysely'

/** What lists show of a receipt stands beside it, so that they need not read it whole; and events say when they were stored. */
export const summaries: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    await sql`alter table receipts add column traffic text`.execute(db)
    await sql`alter table events add column stored_at bigint`.execute(db)
    const { rows } = await sql<{
      deployment_id: string
      receipt: string
    }>`select deployment_id, receipt from receipts`.execute(db)
    for (const { deployment_id, receipt } of rows) {
      const { source, seen, failed, stalled } = (
        JSON.parse(receipt) as { traffic: Record<'source' | 'seen' | 'failed' | 'stalled', unknown> }
      ).traffic
      await sql`update receipts set traffic = ${JSON.stringify({ source, seen, failed, stalled })} where deployment_id = ${deployment_id}`.execute(
        db,
      )
    }
  },
}
