import type { Kysely } from 'kysely'
import type { Waiting } from '../../protocol/deployment.ts'
import { DployError } from '../../protocol/errors.ts'
import type { EventLog } from './events.ts'
import type { Tables } from './schema.ts'

/** Before which batch a deployment waits for a person, and how far people have let it go. */
export interface GateRow {
  /** Who asked it to pause; null: nobody. */
  pausedBy: string | null
  waiting: Waiting | null
  /** The last batch (from 0) that a person let begin; -1: none. */
  passed: number
}

const running = ['queued', 'resolving', 'building', 'staging', 'committing', 'activating']

/** Queries over what people say to deployments that run: pause, and go on. Stored, so that it outlives the control plane. */
export class Gates {
  readonly #db: Kysely<Tables>
  readonly #events: EventLog

  constructor(db: Kysely<Tables>, events: EventLog) {
    this.#db = db
    this.#events = events
  }

  async get(id: string): Promise<GateRow> {
    const row = await this.#db
      .selectFrom('deployments')
      .select(['pause_by', 'waiting', 'passed', 'state'])
      .where('id', '=', id)
      .executeTakeFirstOrThrow()
    return { pausedBy: running.includes(row.state) ? row.pause_by : null, waiting: waitingOf(row), passed: row.passed }
  }

  /** For whom a deployment waits; null: for nobody, or it is not known here. */
  async waiting(id: string): Promise<Waiting | null> {
    const row = await this.#db
      .selectFrom('deployments')
      .select(['waiting', 'state'])
      .where('id', '=', id)
      .executeTakeFirst()
    return row ? waitingOf(row) : null
  }

  /** Lets a deployment stop before its next batch. Throws `deployment.conflict` where it has none left. */
  async pause(id: string, by: string, now: number): Promise<void> {
    const { numUpdatedRows } = await this.#db
      .updateTable('deployments')
      .set({ pause_by: by })
      .where('id', '=', id)
      .where('state', 'in', running)
      .executeTakeFirst()
    if (numUpdatedRows !== 1n) throw await this.#conflict(id, 'has nothing left to pause before')
    this.#events.add(id, null, { kind: 'note', text: `${by} pauses it before the next batch` }, now)
  }

  /** Lets a deployment go on that waits, or that was to pause. Throws `deployment.conflict` if it does neither. */
  async promote(id: string, by: string, now: number): Promise<void> {
    const { waiting, pausedBy } = await this.get(id)
    if (waiting === null && pausedBy === null) throw await this.#conflict(id, 'does not wait for anybody')
    await this.#db
      .updateTable('deployments')
      .set({ pause_by: null, waiting: null, ...(waiting === null ? {} : { passed: waiting.before }) })
      .where('id', '=', id)
      .execute()
    this.#events.add(id, null, { kind: 'waiting', waiting: null, by }, now)
  }

  /** Tells that it waits. Of a deployment that is over nobody is waited for. */
  async wait(id: string, waiting: Waiting): Promise<void> {
    await this.#db
      .updateTable('deployments')
      .set({ waiting: JSON.stringify(waiting) })
      .where('id', '=', id)
      .where('state', 'in', running)
      .execute()
    this.#events.add(id, null, { kind: 'waiting', waiting, by: null }, waiting.since)
  }

  async #conflict(id: string, what: string): Promise<DployError> {
    const { number, state } = await this.#db
      .selectFrom('deployments')
      .select(['number', 'state'])
      .where('id', '=', id)
      .executeTakeFirstOrThrow()
    return new DployError('deployment.conflict', `Deployment ${number} ${what}: it is ${state.replaceAll('_', ' ')}`)
  }
}

/** As the API shows it; null: it does not wait, or not any more because it goes back. */
export function waitingOf(row: { waiting: string | null; state: string }): Waiting | null {
  return row.waiting === null || !running.includes(row.state) ? null : (JSON.parse(row.waiting) as Waiting)
}
