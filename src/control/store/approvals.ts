import type { Kysely } from 'kysely'
import type { Approval } from '../../protocol/deployment.ts'
import { DployError, type ErrorReport } from '../../protocol/errors.ts'
import type { Revision } from '../../protocol/release-spec.ts'
import type { EventLog } from './events.ts'
import type { Tables } from './schema.ts'

/** That another person has to approve it first. */
export interface NewApproval {
  /** What will be deployed, whatever its branch points to by then; null for an uploaded artifact. */
  revision: Revision | null
  requester: string
  /** Epoch milliseconds. */
  expiresAt: number
}

/** What somebody says to a deployment that waits for it. `identity`: the same for the same person, however they ask. */
export interface Decision {
  decision: 'approve' | 'refuse'
  by: string
  identity: string
  note: string
}

/** Queries over deployments that wait for approval. Nothing runs them yet: there is no lock, and no fencing token. */
export class Approvals {
  readonly #db: Kysely<Tables>
  readonly #events: EventLog

  constructor(db: Kysely<Tables>, events: EventLog) {
    this.#db = db
    this.#events = events
  }

  /**
   * Stores what was said, once: from then on the deployment is queued, or over. Who asked for it may only refuse it.
   * Throws `approval.own`, and `deployment.conflict` if it waits no longer.
   */
  async decide(id: string, said: Decision, now: number): Promise<void> {
    const row = await this.#db
      .selectFrom('deployments')
      .select(['number', 'state', 'requester', 'approval_expires_at'])
      .where('id', '=', id)
      .executeTakeFirstOrThrow()
    if (row.state !== 'waiting_for_approval')
      throw new DployError(
        'deployment.conflict',
        `Deployment ${row.number} does not wait for approval: it is ${row.state}`,
      )
    if ((row.approval_expires_at ?? 0) <= now)
      throw new DployError('deployment.conflict', `Deployment ${row.number} has waited too long`, {
        fix: 'Ask for it anew: dploy deploy',
      })
    if (said.decision === 'approve' && said.identity === row.requester)
      throw new DployError(
        'approval.own',
        `${said.by} asked for deployment ${row.number}; another person has to approve it`,
      )
    const failure =
      said.decision === 'refuse'
        ? new DployError(
            'approval.refused',
            `${said.by} refused it${said.note === '' ? '' : `: ${said.note}`}`,
          ).toJSON()
        : null
    await this.#leave(id, { approval: said.decision, by: said.by, note: said.note }, failure, now)
    if (said.decision === 'approve')
      this.#events.add(
        id,
        null,
        { kind: 'note', text: `approved by ${said.by}${said.note === '' ? '' : `: ${said.note}`}` },
        now,
      )
  }

  /** Ends one that waits because who may do so does not want it any more. False: it does not wait. */
  async cancel(id: string, now: number, why?: string): Promise<boolean> {
    try {
      await this.#leave(
        id,
        { approval: 'refuse', by: null, note: '' },
        new DployError('deployment.cancelled', why).toJSON(),
        now,
      )
      return true
    } catch (error) {
      if (error instanceof DployError && error.code === 'deployment.conflict') return false
      throw error
    }
  }

  /** Ends all that have waited too long. */
  async expire(now: number): Promise<void> {
    const rows = await this.#db
      .selectFrom('deployments')
      .select('id')
      .where('state', '=', 'waiting_for_approval')
      .where('approval_expires_at', '<=', now)
      .execute()
    for (const { id } of rows)
      await this.#leave(
        id,
        { approval: 'expired', by: null, note: '' },
        new DployError('approval.expired').toJSON(),
        now,
      ).catch(() => {})
  }

  async #leave(
    id: string,
    said: { approval: Approval['decision']; by: string | null; note: string },
    failure: ErrorReport | null,
    now: number,
  ): Promise<void> {
    const state = failure === null ? 'queued' : 'cancelled'
    await this.#db.transaction().execute(async (trx) => {
      const { numUpdatedRows } = await trx
        .updateTable('deployments')
        .set({
          state,
          approval: said.approval,
          approval_by: said.by,
          approval_at: now,
          approval_note: said.note,
          ...(failure === null ? {} : { failure: JSON.stringify(failure), finished_at: now }),
        })
        .where('id', '=', id)
        .where('state', '=', 'waiting_for_approval')
        .executeTakeFirst()
      if (numUpdatedRows !== 1n)
        throw new DployError('deployment.conflict', 'The deployment does not wait for approval any more')
      await this.#events.addWith(trx, id, { kind: 'state', state, failure }, now)
    })
    this.#events.wake()
  }
}

/** As the API shows it; null: it needs none. */
export function approvalOf(row: {
  approval: string | null
  approval_expires_at: number | null
  approval_by: string | null
  approval_at: number | null
  approval_note: string | null
  requester: string | null
}): Approval | null {
  if (row.approval === null) return null
  return {
    decision: row.approval as Approval['decision'],
    expiresAt: row.approval_expires_at ?? 0,
    by: row.approval_by,
    at: row.approval_at,
    note: row.approval_note ?? '',
    requester: row.requester,
  }
}
