import type { Kysely, Transaction } from 'kysely'
import type { ReleaseSpec, Revision } from '../../protocol/release-spec.ts'
import type { SharedDeployment, SharedRecord } from '../../protocol/shared-record.ts'
import { isFinal } from '../deploy/run/states.ts'
import type { DeploymentState } from '../../protocol/deployment.ts'
import type { Tables } from './schema.ts'

/** How many deployments a record holds, with the releases that they name. */
const kept = 30
/**
 * A server may be so many fencing tokens ahead of what is known here: more than anybody deployed. One that claims the largest number there is would
 * else end all deployments, since no token is over it.
 */
const mostAhead = 1_000_000

/** The history of an environment as servers keep it, written from here and read into here. */
export class SharedRecords {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** What is to be kept on the servers now, and the ids of the releases that were made here. */
  async make(environmentId: string, now: number): Promise<{ record: SharedRecord; made: ReadonlySet<string> }> {
    const environment = await this.#db
      .selectFrom('environments')
      .select(['wanted_release_id', 'live_group', 'fence'])
      .where('id', '=', environmentId)
      .executeTakeFirstOrThrow()
    const rows = await this.#db
      .selectFrom('deployments')
      .selectAll()
      .where('environment_id', '=', environmentId)
      .orderBy('number', 'desc')
      .limit(kept)
      .execute()
    const ids = [environment.wanted_release_id, ...rows.flatMap((row) => [row.release_id, row.from_release_id])].filter(
      (id) => id !== null,
    )
    const releases =
      ids.length === 0
        ? []
        : await this.#db
            .selectFrom('releases')
            .select(['spec', 'created_at'])
            .where('id', 'in', [...new Set(ids)])
            .execute()
    // What was read from servers has no token of ours.
    const made = new Set(
      rows.flatMap((row) =>
        row.kind === 'deploy' && row.fence > 0 && row.release_id !== null ? [row.release_id] : [],
      ),
    )
    const record: SharedRecord = {
      fence: environment.fence,
      writtenAt: now,
      wanted: environment.wanted_release_id,
      live: environment.live_group,
      deployments: rows.map((row): SharedDeployment => ({
        id: row.id,
        number: row.number,
        kind: row.kind,
        state: row.state,
        requestedBy: row.requested_by,
        revision: row.revision === null ? null : (JSON.parse(row.revision) as Revision),
        release: row.release_id,
        from: row.from_release_id,
        failure: row.failure === null ? null : (JSON.parse(row.failure) as unknown),
        createdAt: row.created_at,
        startedAt: row.started_at,
        finishedAt: row.finished_at,
      })),
      releases: releases.map((row) => ({ createdAt: row.created_at, spec: JSON.parse(row.spec) as ReleaseSpec })),
    }
    return { record, made }
  }

  /**
   * Takes over what others deployed since, and lets the next fencing token be over `epoch`, the highest that a server has
   * seen. What is known here already is left as it is.
   */
  async take(environmentId: string, epoch: number, record: SharedRecord | null, now: number): Promise<void> {
    await this.#db.transaction().execute(async (trx) => {
      const environment = await trx
        .selectFrom('environments')
        .innerJoin('applications', 'applications.id', 'environments.application_id')
        .select([
          'environments.fence',
          'environments.config',
          'environments.base',
          'environments.name',
          'applications.name as application',
        ])
        .where('environments.id', '=', environmentId)
        .executeTakeFirstOrThrow()
      const fence = Math.max(
        environment.fence,
        Math.min(environment.fence + mostAhead, Math.max(epoch, record?.fence ?? 0)),
      )
      if (fence > environment.fence)
        await trx.updateTable('environments').set({ fence }).where('id', '=', environmentId).execute()
      const newest = record?.deployments[0]
      if (!record || !newest || (await has(trx, 'deployments', newest.id))) return
      // Whoever wrote another application's releases into it, lies or was mistaken.
      if (
        record.releases.some(
          ({ spec }) => spec.application !== environment.application || spec.environment !== environment.name,
        )
      )
        return
      for (const { spec, createdAt } of record.releases) {
        if (await has(trx, 'releases', spec.id)) continue
        // A release of this number that no server was ever told of makes room.
        const clash = await trx
          .selectFrom('releases')
          .select('id')
          .where('environment_id', '=', environmentId)
          .where('number', '=', spec.number)
          .executeTakeFirst()
        if (clash) {
          const lowest = await trx
            .selectFrom('releases')
            .select((eb) => eb.fn.min('number').as('number'))
            .where('environment_id', '=', environmentId)
            .executeTakeFirst()
          await trx
            .updateTable('releases')
            .set({ number: Math.min(0, Number(lowest?.number ?? 0)) - 1 })
            .where('id', '=', clash.id)
            .execute()
        }
        await trx
          .insertInto('releases')
          .values({
            id: spec.id,
            environment_id: environmentId,
            number: spec.number,
            artifact: spec.artifact,
            spec: JSON.stringify(spec),
            created_at: createdAt,
          })
          .execute()
      }
      for (const deployment of record.deployments.toReversed()) {
        if (!(await has(trx, 'deployments', deployment.id)))
          await insert(trx, environmentId, environment, deployment, now)
      }
      if (record.wanted === null || (await has(trx, 'releases', record.wanted))) {
        await trx
          .updateTable('environments')
          .set({ wanted_release_id: record.wanted, live_group: record.live ?? null })
          .where('id', '=', environmentId)
          .execute()
      }
    })
  }
}

async function has(trx: Transaction<Tables>, table: 'deployments' | 'releases', id: string): Promise<boolean> {
  return (await trx.selectFrom(table).select('id').where('id', '=', id).executeTakeFirst()) !== undefined
}

async function insert(
  trx: Transaction<Tables>,
  environmentId: string,
  environment: { config: string; base: string | null },
  deployment: SharedDeployment,
  now: number,
): Promise<void> {
  const [taken, last] = await Promise.all([
    trx.selectFrom('deployments').select('id').where('number', '=', deployment.number).executeTakeFirst(),
    trx
      .selectFrom('deployments')
      .select((eb) => eb.fn.max('number').as('number'))
      .executeTakeFirst(),
  ])
  // One that still runs elsewhere, or was cut off there, is nothing to go on with here.
  const over = isFinal(deployment.state as DeploymentState)
  const failure = over
    ? deployment.failure
    : {
        code: 'connection.closed',
        message: 'It was still running when this was read from the servers',
        fix: 'Run: dploy status',
      }
  const release =
    deployment.release !== null && (await has(trx, 'releases', deployment.release)) ? deployment.release : null
  const from = deployment.from !== null && (await has(trx, 'releases', deployment.from)) ? deployment.from : null
  await trx
    .insertInto('deployments')
    .values({
      id: deployment.id,
      environment_id: environmentId,
      number: taken ? Number(last?.number ?? 0) + 1 : deployment.number,
      kind: deployment.kind,
      state: over ? deployment.state : 'failed',
      request: JSON.stringify({ revision: null, artifact: null, release: null, servers: null }),
      config: environment.config,
      base: environment.base,
      revision: deployment.revision === null ? null : JSON.stringify(deployment.revision),
      release_id: release,
      from_release_id: from,
      plan: null,
      failure: failure === null ? null : JSON.stringify(failure),
      requested_by: deployment.requestedBy,
      fence: 0,
      cancel_requested: 0,
      created_at: deployment.createdAt,
      started_at: deployment.startedAt,
      finished_at: deployment.finishedAt ?? now,
    })
    .execute()
}
