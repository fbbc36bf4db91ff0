import type { Kysely, Transaction } from 'kysely'
import type { Config } from '../../protocol/config/config.ts'
import type {
  Deployment,
  DeploymentKind,
  DeploymentState,
  DeploymentSummary,
  Plan,
  Step,
  StepState,
} from '../../protocol/deployment.ts'
import { DployError, type ErrorReport } from '../../protocol/errors.ts'
import { newId } from '../../protocol/ids.ts'
import type { Receipt } from '../../protocol/receipt.ts'
import type { Revision } from '../../protocol/release-spec.ts'
import type { Span } from '../../protocol/agent-messages.ts'
import { checkTransition, isFinal, runningStates } from '../deploy/run/states.ts'
import { approvalOf, type NewApproval } from './approvals.ts'
import { waitingOf } from './gates.ts'
import type { DeploymentRequest } from './deployment-request.ts'
import type { EventLog } from './events.ts'
import type { Tables } from './schema.ts'
import { StepWriter } from './step-writer.ts'

/** A deployment as the runner works with it. */
export interface DeploymentRow {
  id: string
  number: number
  environmentId: string
  kind: DeploymentKind
  state: DeploymentState
  request: DeploymentRequest
  config: Config
  base: string | null
  revision: Revision | null
  releaseId: string | null
  fromReleaseId: string | null
  plan: Plan | null
  failure: ErrorReport | null
  requestedBy: string
  fence: number
  cancelRequested: boolean
  createdAt: number
  startedAt: number | null
}

/** Which deployments, the newest first. `before`: the number of the one after which to go on; `environments` null: in all. */
export interface ListFilter {
  environmentId?: string
  environments?: readonly string[] | null
  before?: number
  limit: number
}

export interface StepRow extends Omit<Step, 'server'> {
  serverId: string
  server: string
}

/** Queries over deployments and their steps. Every write of a running deployment names its fencing token. */
export class Deployments {
  readonly #db: Kysely<Tables>
  readonly #events: EventLog
  readonly #steps: StepWriter

  constructor(db: Kysely<Tables>, events: EventLog) {
    this.#db = db
    this.#events = events
    this.#steps = new StepWriter(db)
  }

  /** Stores what was asked for: queued, or waiting for approval. */
  async create(
    input: {
      environmentId: string
      kind: DeploymentKind
      request: DeploymentRequest
      config: Config
      base: string | null
      requestedBy: string
      releaseId: string | null
      fromReleaseId: string | null
      approval?: NewApproval | undefined
      /** The number of a deployment that runs elsewhere and is not known here yet. */
      above?: number
    },
    now: number,
  ): Promise<string> {
    const { approval } = input
    const id = await this.#db.transaction().execute(async (trx) => {
      const last = await trx
        .selectFrom('deployments')
        .select((eb) => eb.fn.max('number').as('number'))
        .executeTakeFirst()
      const id = newId('dep')
      await trx
        .insertInto('deployments')
        .values({
          id,
          environment_id: input.environmentId,
          number: Math.max(Number(last?.number ?? 0), input.above ?? 0) + 1,
          kind: input.kind,
          state: approval ? 'waiting_for_approval' : 'queued',
          request: JSON.stringify(input.request),
          config: JSON.stringify(input.config),
          base: input.base,
          revision: approval?.revision ? JSON.stringify(approval.revision) : null,
          release_id: input.releaseId,
          from_release_id: input.fromReleaseId,
          plan: null,
          failure: null,
          requested_by: input.requestedBy,
          cancel_requested: 0,
          fence: 0,
          created_at: now,
          started_at: null,
          finished_at: null,
          ...(approval
            ? { requester: approval.requester, approval: 'waiting', approval_expires_at: approval.expiresAt }
            : {}),
        })
        .execute()
      if (approval)
        await this.#events.addWith(trx, id, { kind: 'state', state: 'waiting_for_approval', failure: null }, now)
      return id
    })
    if (approval) this.#events.wake()
    return id
  }

  async get(id: string): Promise<DeploymentRow> {
    const row = await this.#db.selectFrom('deployments').selectAll().where('id', '=', id).executeTakeFirst()
    if (!row) throw new DployError('not_found', `There is no deployment ${id}`)
    return {
      id: row.id,
      number: row.number,
      environmentId: row.environment_id,
      kind: row.kind as DeploymentKind,
      state: row.state as DeploymentState,
      request: JSON.parse(row.request) as DeploymentRequest,
      config: JSON.parse(row.config) as Config,
      base: row.base,
      revision: parsed<Revision>(row.revision),
      releaseId: row.release_id,
      fromReleaseId: row.from_release_id,
      plan: parsed<Plan>(row.plan),
      failure: parsed<ErrorReport>(row.failure),
      requestedBy: row.requested_by,
      fence: row.fence,
      cancelRequested: row.cancel_requested !== 0,
      createdAt: row.created_at,
      startedAt: row.started_at,
    }
  }

  /** Moves a deployment on: state, what is learned with it, and the event, in one transaction. Throws `lock.lost` under a stale token. */
  async transition(
    id: string,
    fence: number,
    from: DeploymentState,
    to: DeploymentState,
    now: number,
    changes: {
      revision?: Revision
      releaseId?: string
      plan?: Plan
      failure?: ErrorReport
      wantedRelease?: string | null
      liveGroup?: string | null
    } = {},
  ): Promise<void> {
    checkTransition(from, to)
    await this.#events.flush()
    await this.#fenced(id, fence, async (trx, environmentId) => {
      const result = await trx
        .updateTable('deployments')
        .set({
          state: to,
          ...(changes.revision === undefined ? {} : { revision: JSON.stringify(changes.revision) }),
          ...(changes.releaseId === undefined ? {} : { release_id: changes.releaseId }),
          ...(changes.plan === undefined ? {} : { plan: JSON.stringify(changes.plan) }),
          ...(changes.failure === undefined ? {} : { failure: JSON.stringify(changes.failure) }),
          ...(from === 'queued' ? { started_at: now } : {}),
          ...(isFinal(to) ? { finished_at: now } : {}),
        })
        .where('id', '=', id)
        .where('state', '=', from)
        .executeTakeFirst()
      if (result.numUpdatedRows !== 1n)
        throw new DployError('deployment.conflict', `The deployment is no longer ${from}`)
      if (changes.wantedRelease !== undefined) {
        await trx
          .updateTable('environments')
          .set({ wanted_release_id: changes.wantedRelease })
          .where('id', '=', environmentId)
          .execute()
      }
      if (changes.liveGroup !== undefined)
        await trx
          .updateTable('environments')
          .set({ live_group: changes.liveGroup })
          .where('id', '=', environmentId)
          .execute()
      await this.#events.addWith(trx, id, { kind: 'state', state: to, failure: changes.failure ?? null }, now)
    })
    this.#events.wake()
  }

  /** Stores which group of servers serves from now on. Throws `lock.lost` under a stale token. */
  async setLiveGroup(id: string, fence: number, tag: string | null): Promise<void> {
    await this.#fenced(id, fence, async (trx, environmentId) => {
      await trx.updateTable('environments').set({ live_group: tag }).where('id', '=', environmentId).execute()
    })
  }

  async setFrom(id: string, fence: number, releaseId: string | null): Promise<void> {
    await this.#fenced(id, fence, async (trx) => {
      await trx.updateTable('deployments').set({ from_release_id: releaseId }).where('id', '=', id).execute()
    })
  }

  /** Ends a deployment that never got the lock, or that nobody can run any more: it failed, or was cancelled before it began. */
  async abandon(id: string, failure: ErrorReport, now: number): Promise<void> {
    await this.#events.flush()
    await this.#db.transaction().execute(async (trx) => {
      const row = await trx
        .selectFrom('deployments')
        .select('state')
        .where('id', '=', id)
        .where('state', 'in', runningStates)
        .executeTakeFirst()
      if (!row) return
      const state = failure.code === 'deployment.cancelled' && row.state === 'queued' ? 'cancelled' : 'failed'
      await trx
        .updateTable('deployments')
        .set({ state, failure: JSON.stringify(failure), finished_at: now })
        .where('id', '=', id)
        .execute()
      await this.#events.addWith(trx, id, { kind: 'state', state, failure }, now)
    })
    this.#events.wake()
  }

  async setPlan(
    id: string,
    fence: number,
    plan: Plan,
    servers: readonly { id: string; name: string }[],
    now: number,
  ): Promise<void> {
    await this.#fenced(id, fence, async (trx) => {
      await trx
        .updateTable('deployments')
        .set({ plan: JSON.stringify(plan) })
        .where('id', '=', id)
        .execute()
      const batches = new Map(plan.batches.flatMap((names, batch) => names.map((name) => [name, batch] as const)))
      const unchanged = new Set([...plan.unchanged, ...(plan.groups?.leave ?? [])])
      const unreachable = new Set(plan.unreachable)
      const insert = trx
        .insertInto('steps')
        .values({
          deployment_id: id,
          server_id: '',
          batch: 0,
          state: '',
          spans: '[]',
          bytes: 0,
          objects: 0,
          failure: null,
        })
        .onConflict((oc) => oc.columns(['deployment_id', 'server_id']).doNothing())
        .compile()
      for (const server of servers) {
        const state: StepState = unchanged.has(server.name)
          ? 'unchanged'
          : unreachable.has(server.name)
            ? 'unreachable'
            : 'pending'
        await trx.executeQuery({
          ...insert,
          parameters: [id, server.id, batches.get(server.name) ?? null, state, '[]', 0, 0, null],
        })
      }
    })
    this.#events.add(id, null, { kind: 'plan', plan }, now)
  }

  async steps(id: string): Promise<StepRow[]> {
    const rows = await this.#db
      .selectFrom('steps')
      .innerJoin('servers', 'servers.id', 'steps.server_id')
      .selectAll('steps')
      .select('servers.name')
      .where('deployment_id', '=', id)
      .orderBy('batch')
      .orderBy('servers.name')
      .execute()
    return rows.map((row) => ({
      serverId: row.server_id,
      server: row.name,
      batch: row.batch,
      state: row.state as StepState,
      spans: JSON.parse(row.spans) as Span[],
      bytes: row.bytes,
      objects: row.objects,
      failure: parsed<ErrorReport>(row.failure),
    }))
  }

  /** Stores where one server stands. Throws `deployment.conflict` for a transition that the table does not know, `lock.lost` under a stale token. */
  async step(
    id: string,
    fence: number,
    server: { id: string },
    to: StepState,
    now: number,
    changes: { spans?: readonly Span[]; bytes?: number; objects?: number; failure?: ErrorReport | null } = {},
  ): Promise<void> {
    const { batch } = await this.#steps.write({ deployment: id, fence, server: server.id, to, ...changes })
    this.#events.add(id, server.id, { kind: 'step', state: to, batch, failure: changes.failure ?? null }, now)
  }

  /** The state of the newest deployment that is no converging by itself, if there is one. */
  async latest(environmentId: string): Promise<DeploymentState[]> {
    const rows = await this.#db
      .selectFrom('deployments')
      .select('state')
      .where('environment_id', '=', environmentId)
      .where('kind', '!=', 'converge')
      .orderBy('number', 'desc')
      .limit(1)
      .execute()
    return rows.map(({ state }) => state as DeploymentState)
  }

  /** Id of the deployment that a request with an Idempotency-Key brought; null if it has not. */
  async ofAnswer(environmentId: string, answer: string): Promise<string | null> {
    const rows = await this.#db
      .selectFrom('deployments')
      .select(['id', 'request'])
      .where('environment_id', '=', environmentId)
      .orderBy('number', 'desc')
      .limit(200)
      .execute()
    return rows.find(({ request }) => (JSON.parse(request) as DeploymentRequest).answer === answer)?.id ?? null
  }

  async requestCancel(id: string): Promise<void> {
    await this.#db.updateTable('deployments').set({ cancel_requested: 1 }).where('id', '=', id).execute()
  }

  async saveReceipt(id: string, receipt: Receipt, now: number): Promise<void> {
    const { source, seen, failed, stalled } = receipt.traffic
    const verdict = receipt.verdict ?? undefined
    const row = {
      receipt: JSON.stringify(receipt),
      traffic: JSON.stringify({ source, seen, failed, stalled, verdict } satisfies DeploymentSummary['receipt']),
    }
    await this.#db
      .insertInto('receipts')
      .values({ deployment_id: id, ...row })
      .onConflict((oc) => oc.column('deployment_id').doUpdateSet(row))
      .execute()
    this.#events.add(id, null, { kind: 'receipt', receipt }, now)
  }

  /** Ids of the deployments that run or are queued, the oldest first. */
  async unfinished(environmentId?: string): Promise<{ id: string; environmentId: string; state: DeploymentState }[]> {
    const rows = await this.#db
      .selectFrom('deployments')
      .select(['id', 'environment_id', 'state'])
      .where(
        'state',
        'in',
        runningStates.filter((state) => state !== 'waiting_for_approval'),
      )
      .$if(environmentId !== undefined, (query) => query.where('environment_id', '=', environmentId!))
      .orderBy('number')
      .execute()
    return rows.map((row) => ({ id: row.id, environmentId: row.environment_id, state: row.state as DeploymentState }))
  }

  /** Deployments as the API shows them. */
  async list(filter: ListFilter): Promise<Deployment[]> {
    if (filter.environments?.length === 0) return []
    const rows = await this.#db
      .selectFrom('deployments')
      .select('id')
      .$if(filter.environmentId !== undefined, (query) => query.where('environment_id', '=', filter.environmentId!))
      .$if(filter.environments != null, (query) => query.where('environment_id', 'in', filter.environments!))
      .$if(filter.before !== undefined, (query) => query.where('number', '<', filter.before!))
      .orderBy('number', 'desc')
      .limit(filter.limit)
      .execute()
    return Promise.all(rows.map((row) => this.present(row.id)))
  }

  /** The id of the deployment with this number. Throws `not_found`. */
  async idOf(number: number): Promise<string> {
    const row = await this.#db.selectFrom('deployments').select('id').where('number', '=', number).executeTakeFirst()
    if (!row) throw new DployError('not_found', `There is no deployment ${number}`, { fix: 'Run: dploy deployments' })
    return row.id
  }

  /** The id of the environment of the deployment with this number; null if there is none. */
  async environmentOf(number: number): Promise<string | null> {
    return (
      (
        await this.#db
          .selectFrom('deployments')
          .select('environment_id')
          .where('number', '=', number)
          .executeTakeFirst()
      )?.environment_id ?? null
    )
  }

  /** One deployment as the API shows it. */
  async present(id: string): Promise<Deployment> {
    const row = await this.#db
      .selectFrom('deployments')
      .innerJoin('environments', 'environments.id', 'deployments.environment_id')
      .innerJoin('applications', 'applications.id', 'environments.application_id')
      .leftJoin('releases as to', 'to.id', 'deployments.release_id')
      .leftJoin('releases as of', 'of.id', 'deployments.from_release_id')
      .leftJoin('receipts', 'receipts.deployment_id', 'deployments.id')
      .selectAll('deployments')
      .select([
        'environments.name as environment',
        'applications.name as application',
        'to.number as release',
        'of.number as from',
        'receipts.receipt',
      ])
      .where('deployments.id', '=', id)
      .executeTakeFirst()
    if (!row) throw new DployError('not_found', `There is no deployment ${id}`)
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
      plan: parsed<Plan>(row.plan),
      failure: parsed<ErrorReport>(row.failure),
      steps: (await this.steps(id)).map(({ serverId: _, ...step }) => step),
      receipt: parsed<Receipt>(row.receipt),
      approval: approvalOf(row),
      waiting: waitingOf(row),
      pausedBy: row.pause_by,
    }
  }

  async #fenced(
    id: string,
    fence: number,
    write: (trx: Transaction<Tables>, environmentId: string) => Promise<void>,
  ): Promise<void> {
    await this.#db.transaction().execute(async (trx) => {
      const row = await trx
        .selectFrom('deployments')
        .innerJoin('environments', 'environments.id', 'deployments.environment_id')
        .select(['environments.id', 'environments.fence'])
        .where('deployments.id', '=', id)
        .executeTakeFirstOrThrow()
      if (row.fence !== fence) throw new DployError('lock.lost')
      await write(trx, row.id)
    })
  }
}

function parsed<T>(text: string | null): T | null {
  return text === null ? null : (JSON.parse(text) as T)
}
