import { sql, type Kysely, type Selectable } from 'kysely'
import type { AuditEntry } from '../../protocol/api/audit.ts'
import type { Tables } from './schema.ts'

export interface AuditFilter {
  who?: string | undefined
  action?: string | undefined
  application?: string | undefined
  environment?: string | undefined
  since?: number | undefined
  until?: number | undefined
  /** Ids of the only environments that are asked about; null: everything. */
  environments: readonly string[] | null
}

export type NewAuditEntry = Pick<
  AuditEntry,
  | 'who'
  | 'kind'
  | 'address'
  | 'action'
  | 'application'
  | 'environment'
  | 'subject'
  | 'outcome'
  | 'problem'
  | 'before'
  | 'after'
> & { environmentId: string | null }

/** Who changed what. Rows are added, finished once, and never removed. */
export class AuditLog {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** Notes something, on disk before it answers, and answers its number. */
  async add(entry: NewAuditEntry, now: number): Promise<number> {
    const {
      environmentId,
      who,
      kind,
      address,
      action,
      application,
      environment,
      subject,
      outcome,
      problem,
      before,
      after,
    } = entry
    const row = await this.#db
      .insertInto('audit')
      .values({
        who,
        kind,
        address,
        action,
        application,
        environment,
        subject,
        outcome,
        problem,
        at: now,
        environment_id: environmentId,
        before: textOf(before),
        after: textOf(after),
      })
      .returning('seq')
      .executeTakeFirstOrThrow()
    return row.seq
  }

  /** What came of something that was `begun`. */
  async finish(
    seq: number,
    end: Pick<AuditEntry, 'outcome' | 'problem' | 'subject' | 'before' | 'after'>,
  ): Promise<void> {
    await this.#db
      .updateTable('audit')
      .set({
        outcome: end.outcome,
        problem: end.problem,
        subject: end.subject,
        before: textOf(end.before),
        after: textOf(end.after),
      })
      .where('seq', '=', seq)
      .where('outcome', '=', 'begun')
      .execute()
  }

  /** At most `limit` entries, the newest first; only those before number `cursor`. */
  async list(filter: AuditFilter, page: { cursor?: number | undefined; limit: number }): Promise<AuditEntry[]> {
    const rows = await this.#query(filter)
      .$if(page.cursor !== undefined, (query) => query.where('seq', '<', page.cursor!))
      .orderBy('seq', 'desc')
      .limit(page.limit)
      .execute()
    return rows.map(entryOf)
  }

  /** All of them, the oldest first, as they were when it was asked for. */
  async *all(filter: AuditFilter): AsyncGenerator<AuditEntry> {
    const last =
      (
        await this.#db
          .selectFrom('audit')
          .select((eb) => eb.fn.max('seq').as('seq'))
          .executeTakeFirst()
      )?.seq ?? 0
    for (let after = 0; ;) {
      const rows = await this.#query(filter)
        .where('seq', '>', after)
        .where('seq', '<=', Number(last))
        .orderBy('seq')
        .limit(500)
        .execute()
      if (rows.length === 0) return
      for (const row of rows) yield entryOf(row)
      after = rows.at(-1)!.seq
    }
  }

  #query(filter: AuditFilter) {
    let query = this.#db.selectFrom('audit').selectAll()
    for (const key of ['action', 'application', 'environment'] as const) {
      const value = filter[key]
      if (value !== undefined) query = query.where(key, '=', value)
    }
    // Part of a name is enough: of a token's, its owner's.
    if (filter.who !== undefined)
      query = query.where(sql<boolean>`who like ${`%${filter.who.replaceAll(/[\\%_]/g, '\\$&')}%`} escape '\\'`)
    if (filter.since !== undefined) query = query.where('at', '>=', filter.since)
    if (filter.until !== undefined) query = query.where('at', '<=', filter.until)
    if (filter.environments !== null)
      query =
        filter.environments.length === 0
          ? query.where('seq', '<', 0)
          : query.where('environment_id', 'in', filter.environments)
    return query
  }
}

function textOf(value: unknown): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value)
}

function entryOf(row: Selectable<Tables['audit']>): AuditEntry {
  const { environment_id: _, before, after, kind, outcome, ...rest } = row
  return {
    ...rest,
    kind: kind as AuditEntry['kind'],
    outcome: outcome as AuditEntry['outcome'],
    before: before === null ? null : JSON.parse(before),
    after: after === null ? null : JSON.parse(after),
  }
}
