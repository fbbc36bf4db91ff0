import type { Kysely, Transaction } from 'kysely'
import type { ReleaseSpec, Revision } from '../../protocol/release-spec.ts'
import type { SharedDeployment, SharedRecord } from '../../protocol/shared-record.ts'
import { isFinal, runningStates } from '../deploy/run/states.ts'
import type { DeploymentState } from '../../protocol/deployment.ts'
import type { TakenOver } from './applications.ts'
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
  async make(
    environmentId: string,
    now: number,
    { control = false, most = kept }: { control?: boolean; most?: number } = {},
  ): Promise<{ record: SharedRecord; made: ReadonlySet<string> }> {
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
      .limit(Math.min(kept, most))
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
    if (control)
      await this.#db.updateTable('environments').set({ record_at: now }).where('id', '=', environmentId).execute()
    const record: SharedRecord = {
      ...(control && { control }),
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
   * seen. What is known here already is left as it is, but for what was still under way elsewhere when it was read.
   */
  async take(environmentId: string, told: Told, now: number): Promise<void> {
    const { epoch, record } = told
    await this.#db.transaction().execute(async (trx) => {
      const environment = await trx
        .selectFrom('environments')
        .innerJoin('applications', 'applications.id', 'environments.application_id')
        .select([
          'environments.fence',
          'environments.config',
          'environments.base',
          'environments.name',
          'environments.taken_over',
          'environments.record_at',
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
      // Whoever wrote another application's releases into it, lies or was mistaken.
      const ours = record?.releases.every(
        ({ spec }) => spec.application === environment.application && spec.environment === environment.name,
      )
      const newest = record && ours ? record.deployments.find(({ id }) => !told.running.has(id)) : undefined
      const news = newest !== undefined && !(await has(trx, 'deployments', newest.id))
      if (record && ours && (news || record.writtenAt > (environment.record_at ?? 0)))
        await this.#takeRecord(trx, environmentId, environment, record, { ...told, news }, now)
      // Whoever begins here takes over what there is; whoever had deployed before lacks what came since.
      if (told.control && environment.fence > 0 && (epoch > environment.fence || news))
        await this.#noteTakenOver(
          trx,
          environmentId,
          environment.taken_over,
          news ? { record: record!, newest } : null,
          now,
        )
    })
  }

  /** When the record was written that is known here; null: none is. */
  async writtenAt(environmentId: string): Promise<number | null> {
    const row = await this.#db
      .selectFrom('environments')
      .select('record_at')
      .where('id', '=', environmentId)
      .executeTakeFirst()
    return row?.record_at ?? null
  }

  /** A person has looked at what was taken over. */
  async looked(environmentId: string): Promise<void> {
    await this.#db
      .updateTable('environments')
      .set({ taken_over: null })
      .where('id', '=', environmentId)
      .where('taken_over', 'is not', null)
      .execute()
  }

  async #noteTakenOver(
    trx: Transaction<Tables>,
    environmentId: string,
    before: string | null,
    found: { record: SharedRecord; newest: SharedDeployment } | null,
    now: number,
  ): Promise<void> {
    const known = before === null ? null : (JSON.parse(before) as TakenOver)
    const deployment = found && {
      number: found.newest.number,
      release: found.record.releases.find(({ spec }) => spec.id === found.newest.release)?.spec.number ?? null,
      requestedBy: found.newest.requestedBy,
      at: found.newest.finishedAt ?? found.newest.createdAt,
    }
    const taken: TakenOver = { since: known?.since ?? now, deployment: deployment ?? known?.deployment ?? null }
    await trx
      .updateTable('environments')
      .set({ taken_over: JSON.stringify(taken) })
      .where('id', '=', environmentId)
      .execute()
  }

  async #takeRecord(
    trx: Transaction<Tables>,
    environmentId: string,
    environment: { config: string; base: string | null; fence: number },
    record: SharedRecord,
    { control, running, news }: Told & { news: boolean },
    now: number,
  ): Promise<void> {
    await trx.updateTable('environments').set({ record_at: record.writtenAt }).where('id', '=', environmentId).execute()
    if (news) for (const release of record.releases) await insertRelease(trx, environmentId, release)
    for (const deployment of record.deployments.toReversed()) {
      if (running.has(deployment.id)) continue
      if (await has(trx, 'deployments', deployment.id)) await renew(trx, deployment)
      else await insert(trx, environmentId, environment, deployment, now)
    }
    // What servers keep that were away is older than what is known here.
    if (!news || (control && record.fence < environment.fence)) return
    if (record.wanted === null || (await has(trx, 'releases', record.wanted))) {
      await trx
        .updateTable('environments')
        .set({ wanted_release_id: record.wanted, live_group: record.live ?? null })
        .where('id', '=', environmentId)
        .execute()
    }
  }
}

/** What servers tell of an environment. */
export interface Told {
  /** The highest fencing token that one of them has seen. */
  epoch: number
  record: SharedRecord | null
  /** Deployments that run now, elsewhere or here. */
  running: ReadonlySet<string>
  /** It is told to a control plane that stays, which people rely on: what it did not know is noted. */
  control: boolean
}

async function insertRelease(
  trx: Transaction<Tables>,
  environmentId: string,
  { spec, createdAt }: SharedRecord['releases'][number],
): Promise<void> {
  if (await has(trx, 'releases', spec.id)) return
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

/** One that was read while it ran elsewhere, or was cut off there and went on, has ended since. What was done here is known better here. */
async function renew(trx: Transaction<Tables>, deployment: SharedDeployment): Promise<void> {
  if (!isFinal(deployment.state as DeploymentState)) return
  const release =
    deployment.release !== null && (await has(trx, 'releases', deployment.release)) ? deployment.release : null
  const taken = await trx
    .selectFrom('deployments')
    .select('id')
    .where('number', '=', deployment.number)
    .executeTakeFirst()
  if (!taken)
    await trx
      .updateTable('deployments')
      .set({ number: deployment.number })
      .where('id', '=', deployment.id)
      .where('state', 'not in', runningStates)
      .execute()
  await trx
    .updateTable('deployments')
    .set({
      state: deployment.state,
      failure: deployment.failure === null ? null : JSON.stringify(deployment.failure),
      finished_at: deployment.finishedAt,
      release_id: release,
    })
    .where('id', '=', deployment.id)
    .where('fence', '=', 0)
    .where('state', 'not in', runningStates)
    .execute()
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
  const [found, last] = await Promise.all([
    trx
      .selectFrom('deployments')
      .select(['id', 'environment_id', 'state'])
      .where('number', '=', deployment.number)
      .executeTakeFirst(),
    trx
      .selectFrom('deployments')
      .select((eb) => eb.fn.max('number').as('number'))
      .executeTakeFirst(),
  ])
  // What servers keep has its number for everybody. One that ended before any server was told of it makes room.
  const moves = found?.environment_id === environmentId && isFinal(found.state as DeploymentState)
  const next = Number(last?.number ?? 0) + 1
  if (found && moves) await trx.updateTable('deployments').set({ number: next }).where('id', '=', found.id).execute()
  // One that was cut off there, is nothing to go on with here.
  const over = isFinal(deployment.state as DeploymentState)
  const failure = over
    ? deployment.failure
    : {
        code: 'connection.closed',
        message: 'It was cut off: nobody runs it any more, and the servers were not told how it ended',
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
      number: found && !moves ? next : deployment.number,
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
