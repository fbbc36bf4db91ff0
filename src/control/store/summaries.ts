import type { Kysely } from 'kysely'
import type { DeploymentKind, DeploymentState, DeploymentSummary } from '../../protocol/deployment.ts'
import { DployError, type ErrorReport } from '../../protocol/errors.ts'
import type { Revision } from '../../protocol/release-spec.ts'
import { isFinal } from '../deploy/states.ts'
import { approvalOf } from './approvals.ts'
import type { ListFilter } from './deployments.ts'
import { waitingOf } from './gates.ts'
import type { Tables } from './schema.ts'

/** Step states after which nothing more is done for a server. */
const done = ['switched', 'unchanged', 'failed', 'quarantined', 'reverted']

/** Deployments as lists show them. Nothing is read that grows with their servers but a count. */
export class Summaries {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  async list(filter: ListFilter): Promise<DeploymentSummary[]> {
    if (filter.environments?.length === 0) return []
    const rows = await this.#rows()
      .$if(filter.environmentId !== undefined, (query) => query.where('deployments.environment_id', '=', filter.environmentId!))
      .$if(filter.environments != null, (query) => query.where('deployments.environment_id', 'in', filter.environments!))
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
      revision: parsed<Revision>(row.revision),
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
    return { servers: sum(rows), done: sum(rows) - sum(left), batch: left.length === 0 ? batches - 1 : Math.min(...left.map(({ batch }) => batch!)), batches }
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
      'deployments.id', 'deployments.number', 'deployments.kind', 'deployments.state', 'deployments.requested_by', 'deployments.created_at', 'deployments.started_at', 'deployments.finished_at',
      'deployments.revision', 'deployments.failure', 'deployments.waiting', 'deployments.pause_by',
      'deployments.approval', 'deployments.approval_expires_at', 'deployments.approval_by', 'deployments.approval_at', 'deployments.approval_note',
      'environments.name as environment', 'applications.name as application', 'to.number as release', 'of.number as from', 'receipts.traffic',
    ])
}

type Row = Awaited<ReturnType<ReturnType<typeof rowsOf>['executeTakeFirstOrThrow']>>
