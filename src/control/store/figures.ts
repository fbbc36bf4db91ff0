import { sql, type Kysely } from 'kysely'
import type { Receipt } from '../../protocol/receipt.ts'
import type { Tables } from './schema.ts'

export interface EnvironmentFigures {
  application: string
  environment: string
  state: string
  kind: string
  count: number
  /** Of those that are over and had begun: how many there are, how long they took, and how many took at most each bound. Milliseconds. */
  ended: number
  total: number
  within: number[]
}

/** What the records add up to, for the metrics. */
export class Figures {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** Deployments by environment, state and kind. `bounds` are milliseconds. */
  async deployments(bounds: readonly number[]): Promise<EnvironmentFigures[]> {
    const took = sql<number>`(finished_at - started_at)`
    const rows = await this.#db
      .selectFrom('deployments')
      .innerJoin('environments', 'environments.id', 'deployments.environment_id')
      .innerJoin('applications', 'applications.id', 'environments.application_id')
      .select([
        'applications.name as application',
        'environments.name as environment',
        'deployments.state',
        'deployments.kind',
      ])
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .select(sql<number>`sum(case when ${took} is not null then 1 else 0 end)`.as('ended'))
      .select(sql<number>`coalesce(sum(${took}), 0)`.as('total'))
      .select(
        bounds.map((bound, index) =>
          sql<number>`sum(case when ${took} <= ${sql.lit(bound)} then 1 else 0 end)`.as(`within_${index}`),
        ),
      )
      .groupBy(['applications.name', 'environments.name', 'deployments.state', 'deployments.kind'])
      .orderBy('applications.name')
      .orderBy('environments.name')
      .orderBy('deployments.state')
      .orderBy('deployments.kind')
      .execute()
    return rows.map((row) => ({
      application: row.application,
      environment: row.environment,
      state: row.state,
      kind: row.kind,
      count: Number(row.count),
      ended: Number(row.ended),
      total: Number(row.total),
      within: bounds.map((_, index) => Number((row as Record<string, unknown>)[`within_${index}`])),
    }))
  }

  /** Receipts of deployments that ended at `since` (epoch milliseconds) or later. */
  async receipts(
    since: number,
  ): Promise<{ id: string; application: string; environment: string; finishedAt: number; receipt: Receipt }[]> {
    const rows = await this.#db
      .selectFrom('receipts')
      .innerJoin('deployments', 'deployments.id', 'receipts.deployment_id')
      .innerJoin('environments', 'environments.id', 'deployments.environment_id')
      .innerJoin('applications', 'applications.id', 'environments.application_id')
      .select([
        'deployments.id',
        'applications.name as application',
        'environments.name as environment',
        'deployments.finished_at as finishedAt',
        'receipts.receipt',
      ])
      .where('deployments.finished_at', '>=', since)
      .execute()
    return rows.map(({ receipt, finishedAt, ...row }) => ({
      ...row,
      finishedAt: finishedAt!,
      receipt: JSON.parse(receipt) as Receipt,
    }))
  }

  /** How many servers are known. */
  async servers(): Promise<number> {
    return Number(
      (
        await this.#db
          .selectFrom('servers')
          .select((eb) => eb.fn.countAll<number>().as('count'))
          .executeTakeFirstOrThrow()
      ).count,
    )
  }
}
