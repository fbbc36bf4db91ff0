import type { Kysely } from 'kysely'
import type { StepState } from '../../protocol/deployment.ts'
import type { Tables } from './schema.ts'

/** Queries over what single servers did in deployments. */
export class Steps {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** The last step of each of these servers in which a deployment of the environment touched it, by the server's id; one deployment is left aside. */
  async last(environmentId: string, serverIds: readonly string[], but: string): Promise<Map<string, StepState>> {
    const rows = await this.#db
      .selectFrom('steps')
      .innerJoin('deployments', 'deployments.id', 'steps.deployment_id')
      .select(['steps.server_id', 'steps.state'])
      .where('deployments.environment_id', '=', environmentId)
      .where('deployments.id', '!=', but)
      .where('steps.server_id', 'in', serverIds)
      .where('steps.state', 'not in', ['pending', 'staging', 'staged', 'unchanged'])
      .orderBy('deployments.number')
      .execute()
    // Of several the last one stays.
    return new Map(rows.map((row) => [row.server_id, row.state as StepState]))
  }
}
