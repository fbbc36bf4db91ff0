import type { Kysely } from 'kysely'
import type { CommandOutcome, RunSummary } from '../../protocol/api/commands.ts'
import { newId } from '../../protocol/ids.ts'
import type { Tables } from './schema.ts'

/** The record of what people ran on servers. Rows are added, finished once, and never removed. */
export class Runs {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** Notes that a run begins, before anything is sent, and answers its id. */
  async begin(
    run: { environmentId: string; kind: RunSummary['kind']; command: string; requestedBy: string },
    now: number,
  ): Promise<string> {
    const id = newId('run')
    await this.#db
      .insertInto('runs')
      .values({
        id,
        environment_id: run.environmentId,
        kind: run.kind,
        command: run.command,
        requested_by: run.requestedBy,
        outcomes: '[]',
        started_at: now,
        finished_at: null,
      })
      .execute()
    return id
  }

  async finish(id: string, outcomes: readonly CommandOutcome[], now: number): Promise<void> {
    await this.#db
      .updateTable('runs')
      .set({ outcomes: JSON.stringify(outcomes), finished_at: now })
      .where('id', '=', id)
      .where('finished_at', 'is', null)
      .execute()
  }

  /** The id of the environment of a run; null if there is none. */
  async environmentOf(id: string): Promise<string | null> {
    return (
      (await this.#db.selectFrom('runs').select('environment_id').where('id', '=', id).executeTakeFirst())
        ?.environment_id ?? null
    )
  }

  /** The newest first; those after `after` in this order. */
  async list(environmentId: string, limit: number, after?: { at: number; id: string }): Promise<RunSummary[]> {
    const rows = await this.#db
      .selectFrom('runs')
      .innerJoin('environments', 'environments.id', 'runs.environment_id')
      .innerJoin('applications', 'applications.id', 'environments.application_id')
      .select([
        'runs.id',
        'runs.kind',
        'runs.command',
        'runs.requested_by',
        'runs.outcomes',
        'runs.started_at',
        'runs.finished_at',
        'applications.name as application',
        'environments.name as environment',
      ])
      .where('runs.environment_id', '=', environmentId)
      .$if(after !== undefined, (query) =>
        query.where((eb) =>
          eb.or([
            eb('runs.started_at', '<', after!.at),
            eb.and([eb('runs.started_at', '=', after!.at), eb('runs.id', '>', after!.id)]),
          ]),
        ),
      )
      .orderBy('runs.started_at', 'desc')
      .orderBy('runs.id')
      .limit(limit)
      .execute()
    return rows.map((row) => ({
      id: row.id,
      kind: row.kind as RunSummary['kind'],
      application: row.application,
      environment: row.environment,
      requestedBy: row.requested_by,
      command: row.command,
      startedAt: row.started_at,
      finishedAt: row.finished_at,
      outcomes: JSON.parse(row.outcomes) as CommandOutcome[],
    }))
  }
}
