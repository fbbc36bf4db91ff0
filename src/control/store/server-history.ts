import type { Kysely } from 'kysely'
import type { Span } from '../../protocol/agent-messages.ts'
import type { ServerStep } from '../../protocol/api/vitals.ts'
import type { ErrorReport } from '../../protocol/errors.ts'
import type { Revision } from '../../protocol/release-spec.ts'
import type { Tables } from './schema.ts'

/** What deployments did on one server. */
export class ServerHistory {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** The newest first; those before deployment `before`. */
  async list(environmentId: string, serverId: string, limit: number, before?: number): Promise<ServerStep[]> {
    const rows = await this.#db
      .selectFrom('deployments')
      .innerJoin('steps', 'steps.deployment_id', 'deployments.id')
      .leftJoin('releases', 'releases.id', 'deployments.release_id')
      .select([
        'deployments.number',
        'deployments.kind',
        'deployments.state',
        'deployments.revision',
        'deployments.requested_by',
        'deployments.started_at',
        'deployments.finished_at',
        'releases.number as release',
        'steps.state as step',
        'steps.bytes',
        'steps.spans',
        'steps.failure',
      ])
      .where('deployments.environment_id', '=', environmentId)
      .where('steps.server_id', '=', serverId)
      .$if(before !== undefined, (query) => query.where('deployments.number', '<', before!))
      .orderBy('deployments.number', 'desc')
      .limit(limit)
      .execute()
    return rows.map((row) => ({
      deployment: row.number,
      kind: row.kind as ServerStep['kind'],
      state: row.state as ServerStep['state'],
      step: row.step as ServerStep['step'],
      release: row.release,
      revision: row.revision === null ? null : (JSON.parse(row.revision) as Revision),
      requestedBy: row.requested_by,
      startedAt: row.started_at,
      finishedAt: row.finished_at,
      bytes: row.bytes,
      ms: (JSON.parse(row.spans) as Span[]).reduce((sum, { start, end }) => sum + end - start, 0),
      failure: row.failure === null ? null : (JSON.parse(row.failure) as ErrorReport),
    }))
  }
}
