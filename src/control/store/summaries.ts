import { sql, type Kysely } from 'kysely'
import type { DeploymentKind, DeploymentState, DeploymentSummary } from '../../protocol/deployment.ts'
import { DployError, type ErrorReport } from '../../protocol/errors.ts'
import type { Revision } from '../../protocol/release-spec.ts'
import { isFinal } from '../deploy/run/states.ts'
import { approvalOf } from './approvals.ts'
import type { ListFilter } from './deployments.ts'
import { waitingOf } from './gates.ts'
import type { Tables } from './schema.ts'

/** Step states after which nothing more is done for a server. */
const done = ['switched', 'unchanged', 'failed', 'quarantined', 'reverted']

/** More of them are seen on the page of deployments. */
const mostAwaiting = 20

/** Deployments as lists show them. Nothing is read that grows with their servers but a count. */
export class Summaries {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  async list(filter: ListFilter): Promise<DeploymentSummary[]> {
    if (filter.environments?.length === 0) return []
    const rows = await this.#rows()
      .$if(filter.environmentId !== undefined, (query) =>
        query.where('deployments.environment_id', '=', filter.environmentId!),
      )
      .$if(filter.environments != null, (query) =>
        query.where('deployments.environment_id', 'in', filter.environments!),
      )
      .$if(filter.before !== undefined, (query) => query.where('deployments.number', '<', filter.before!))
      .orderBy('deployments.number', 'desc')
      .limit(filter.limit)
      .execute()
    return Promise.all(rows.map((row) => this.#summary(row)))
  }

  async one(id: string): Promise<DeploymentSummary> {
    const row = await this.#rows().where('deployments.id', '=', id).executeTakeFirst()
    if (!row) throw new DployError('not_found', `There is no deployment ${id}`)
    return this.#summary(row)
  }

  /** The latest deployment of an environment that is over; null: none is. A converge that did what it should hides none that a person asked for. */
  async ended(environmentId: string): Promise<DeploymentSummary | null> {
    const row = await this.#rows()
      .where('deployments.environment_id', '=', environmentId)
      .where('deployments.state', 'in', ['succeeded', 'rolled_back', 'failed', 'cancelled'])
      .where((eb) => eb.or([eb('deployments.kind', '!=', 'converge'), eb('deployments.state', '!=', 'succeeded')]))
      .orderBy('deployments.number', 'desc')
      .limit(1)
      .executeTakeFirst()
    return row ? this.#summary(row) : null
  }

  /** How the deployments to these releases went: whether one succeeded, and the latest. */
  async fates(
    releases: readonly string[],
  ): Promise<Map<string, { served: boolean; last: { number: number; state: DeploymentState } }>> {
    const fates = new Map<string, { served: boolean; last: { number: number; state: DeploymentState } }>()
    if (releases.length === 0) return fates
    const rows = await this.#db
      .selectFrom('deployments')
      .select(['release_id', 'number', 'state'])
      .where('release_id', 'in', releases)
      .orderBy('number')
      .execute()
    for (const row of rows) {
      const state = row.state as DeploymentState
      const served = state === 'succeeded' || fates.get(row.release_id!)?.served === true
      fates.set(row.release_id!, { served, last: { number: row.number, state } })
    }
    return fates
  }

  /** How long the latest deployments of an environment took that succeeded, the newest first. Milliseconds. */
  async durations(environmentId: string, count: number): Promise<number[]> {
    const rows = await this.#db
      .selectFrom('deployments')
      .select(['started_at', 'finished_at'])
      .where('environment_id', '=', environmentId)
      .where('state', '=', 'succeeded')
      .where('kind', '=', 'deploy')
      .where('started_at', 'is not', null)
      .orderBy('number', 'desc')
      .limit(count)
      .execute()
    return rows.map((row) => row.finished_at! - row.started_at!)
  }

  /** When an environment was last made to run this release: the end of the deployment that did, or its begin while it goes on. Null: no deployment did. */
  async activatedAt(environmentId: string, releaseId: string): Promise<number | null> {
    const row = await this.#db
      .selectFrom('deployments')
      .select(['created_at', 'started_at', 'finished_at'])
      .where('environment_id', '=', environmentId)
      .where('release_id', '=', releaseId)
      .where('state', 'in', ['activating', 'baking', 'succeeded'])
      // One that brings a server back makes it run nothing else.
      .where('kind', '!=', 'converge')
      .orderBy('number', 'desc')
      .limit(1)
      .executeTakeFirst()
    return row ? (row.finished_at ?? row.started_at ?? row.created_at) : null
  }

  /** Deployments that wait until another person approves them, the oldest first. */
  async awaiting(
    environmentId: string,
  ): Promise<{ number: number; requestedBy: string; createdAt: number; revision: Revision | null }[]> {
    const rows = await this.#db
      .selectFrom('deployments')
      .select(['number', 'requested_by', 'created_at', 'revision'])
      .where('environment_id', '=', environmentId)
      .where('state', '=', 'waiting_for_approval')
      .orderBy('number')
      .limit(mostAwaiting)
      .execute()
    return rows.map((row) => ({
      number: row.number,
      requestedBy: row.requested_by,
      createdAt: row.created_at,
      revision: row.revision === null ? null : (JSON.parse(row.revision) as Revision),
    }))
  }

  /** How many deployments each environment had on each day since, and how many of these failed or went back. A day is a number of whole days since the epoch, `offset` milliseconds east of Greenwich. */
  async byDay(
    since: number,
    offset: number,
    environments: readonly string[] | null,
  ): Promise<{ application: string; environment: string; day: number; all: number; bad: number }[]> {
    if (environments?.length === 0) return []
    const day = sql<number>`(deployments.created_at + ${sql.lit(offset)}) / 86400000`
    const rows = await this.#db
      .selectFrom('deployments')
      .innerJoin('environments', 'environments.id', 'deployments.environment_id')
      .innerJoin('applications', 'applications.id', 'environments.application_id')
      .select((eb) => [
        'applications.name as application',
        'environments.name as environment',
        day.as('day'),
        eb.fn.countAll<number>().as('all'),
        sql<number>`sum(case when deployments.state in ('failed', 'rolled_back') then 1 else 0 end)`.as('bad'),
      ])
      .where('deployments.created_at', '>=', since)
      .where('deployments.kind', '!=', 'converge')
      .$if(environments !== null, (query) => query.where('deployments.environment_id', 'in', environments!))
      .groupBy(['applications.name', 'environments.name', day])
      .execute()
    return rows.map((row) => ({ ...row, day: Number(row.day), all: Number(row.all), bad: Number(row.bad) }))
  }

  #rows() {
    return rowsOf(this.#db)
  }

  async #summary(row: Row): Promise<DeploymentSummary> {
    const parsed = <T>(text: string | null): T | null => (text === null ? null : (JSON.parse(text) as T))
    return {
      id: row.id,
      number: row.number,
      application: row.application,
      environment: row.environment,
      kind: row.kind as DeploymentKind,
      state: row.state as DeploymentState,
      requestedBy: row.requested_by,
      createdAt: row.created_at,
      startedAt: row.started_at,
      finishedAt: row.finished_at,
      revision: parsed<Revision>(row.revision) ?? (await this.#revisionOf(row.release_id)),
      release: row.release,
      from: row.from,
      failure: parsed<ErrorReport>(row.failure),
      approval: approvalOf(row),
      waiting: waitingOf(row),
      pausedBy: row.pause_by,
      progress: isFinal(row.state as DeploymentState) ? null : await this.#progress(row.id),
      receipt: parsed<DeploymentSummary['receipt']>(row.traffic),
    }
  }

  /** What a rollback or a converge brings back has its revision in its release. */
  async #revisionOf(release: string | null): Promise<Revision | null> {
    if (release === null) return null
    const row = await this.#db.selectFrom('releases').select('spec').where('id', '=', release).executeTakeFirst()
    return row ? (JSON.parse(row.spec) as { revision: Revision }).revision : null
  }

  async #progress(deployment: string): Promise<DeploymentSummary['progress']> {
    const rows = await this.#db
      .selectFrom('steps')
      .select(['batch', 'state', (eb) => eb.fn.countAll<number>().as('servers')])
      .where('deployment_id', '=', deployment)
      .where('batch', 'is not', null)
      .groupBy(['batch', 'state'])
      .execute()
    if (rows.length === 0) return null
    const sum = (some: typeof rows) => some.reduce((all, { servers }) => all + Number(servers), 0)
    const left = rows.filter(({ state }) => !done.includes(state))
    const batches = Math.max(...rows.map(({ batch }) => batch!)) + 1
    return {
      servers: sum(rows),
      done: sum(rows) - sum(left),
      batch: left.length === 0 ? batches - 1 : Math.min(...left.map(({ batch }) => batch!)),
      batches,
    }
  }
}

function rowsOf(db: Kysely<Tables>) {
  return db
    .selectFrom('deployments')
    .innerJoin('environments', 'environments.id', 'deployments.environment_id')
    .innerJoin('applications', 'applications.id', 'environments.application_id')
    .leftJoin('releases as to', 'to.id', 'deployments.release_id')
    .leftJoin('releases as of', 'of.id', 'deployments.from_release_id')
    .leftJoin('receipts', 'receipts.deployment_id', 'deployments.id')
    .select([
      'deployments.id',
      'deployments.number',
      'deployments.kind',
      'deployments.state',
      'deployments.requested_by',
      'deployments.created_at',
      'deployments.started_at',
      'deployments.finished_at',
      'deployments.revision',
      'deployments.release_id',
      'deployments.failure',
      'deployments.waiting',
      'deployments.pause_by',
      'deployments.approval',
      'deployments.approval_expires_at',
      'deployments.approval_by',
      'deployments.approval_at',
      'deployments.approval_note',
      'deployments.requester',
      'environments.name as environment',
      'applications.name as application',
      'to.number as release',
      'of.number as from',
      'receipts.traffic',
    ])
}

type Row = Awaited<ReturnType<ReturnType<typeof rowsOf>['executeTakeFirstOrThrow']>>
