import type { CompiledQuery, Kysely, Transaction } from 'kysely'
import type { DeploymentEvent, DeploymentEventData, DeploymentState } from '../../protocol/deployment.ts'
import { Histogram } from '../metrics/exposition.ts'
import type { Tables } from './schema.ts'

/** How long added events may wait to be written together. Milliseconds. */
const flushDelay = 15
/** How many are written in one transaction: what else the process has to do comes between two. */
const atOnce = 250
/** How often a reader looks for events that another process wrote. Milliseconds. */
const pollInterval = 500

interface NewEvent {
  deployment_id: string
  server_id: string | null
  at: number
  data: string
}

/**
 * What happened in deployments, as stored rows: what is shown live and what is read later is the same. Output of hooks
 * comes in floods, so events are written in groups; `flush` waits until all that was added is stored.
 */
export class EventLog {
  readonly #db: Kysely<Tables>
  /** Compiled once: events differ in their values alone. */
  readonly #insert: CompiledQuery
  /** How long after it happened each event was stored. */
  readonly stored = new Histogram([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5])
  #waiting: NewEvent[] = []
  #writing: Promise<void> = Promise.resolve()
  #timer: NodeJS.Timeout | null = null
  readonly #readers = new Set<() => void>()

  constructor(db: Kysely<Tables>) {
    this.#db = db
    this.#insert = db
      .insertInto('events')
      .values({ deployment_id: '', server_id: '', at: 0, data: '', stored_at: 0 })
      .compile()
  }

  add(deployment: string, serverId: string | null, data: DeploymentEventData, at: number): void {
    this.#waiting.push({ deployment_id: deployment, server_id: serverId, at, data: JSON.stringify(data) })
    this.#timer ??= setTimeout(() => void this.flush(), flushDelay)
  }

  /** Adds one with the change that it tells of: both are stored, or none. `wake` is due once the transaction is over. */
  async addWith(trx: Transaction<Tables>, deployment: string, data: DeploymentEventData, at: number): Promise<void> {
    await trx
      .insertInto('events')
      .values({ deployment_id: deployment, server_id: null, at, data: JSON.stringify(data), stored_at: Date.now() })
      .execute()
  }

  /** Lets readers look for what another writer stored. */
  wake(): void {
    for (const wake of [...this.#readers]) wake()
  }

  flush(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    const rows = this.#waiting
    this.#waiting = []
    if (rows.length > 0) {
      this.#writing = this.#writing.then(() => this.#write(rows))
    }
    return this.#writing
  }

  /** Stored events after `after`, at most `limit`. */
  async read(deployment: string, after: number, limit: number): Promise<DeploymentEvent[]> {
    const rows = await this.#db
      .selectFrom('events')
      .leftJoin('servers', 'servers.id', 'events.server_id')
      .select(['events.seq', 'events.deployment_id', 'events.at', 'events.stored_at', 'events.data', 'servers.name'])
      .where('deployment_id', '=', deployment)
      .where('seq', '>', after)
      .orderBy('seq')
      .limit(limit)
      .execute()
    return rows.map((row) => ({
      seq: row.seq,
      deployment: row.deployment_id,
      at: row.at,
      ...(row.stored_at === null ? {} : { stored: row.stored_at }),
      server: row.name,
      data: JSON.parse(row.data) as DeploymentEventData,
    }))
  }

  /** The states that a deployment went through, and when. */
  async states(deployment: string): Promise<{ state: DeploymentState; at: number }[]> {
    const rows = await this.#db
      .selectFrom('events')
      .select(['at', 'data'])
      .where('deployment_id', '=', deployment)
      .where('data', 'like', '{"kind":"state"%')
      .orderBy('seq')
      .execute()
    return rows.flatMap(({ at, data }) => {
      const event = JSON.parse(data) as DeploymentEventData
      return event.kind === 'state' ? [{ state: event.state, at }] : []
    })
  }

  /** Stored events after `after`, then each new one, until the signal aborts. None is left out, none comes twice. */
  async *follow(deployment: string, after: number, signal: AbortSignal): AsyncGenerator<DeploymentEvent> {
    let cursor = after
    while (!signal.aborted) {
      const news = this.#news(signal)
      const events = await this.read(deployment, cursor, 1_000)
      for (const event of events) {
        yield event
        cursor = event.seq
      }
      if (events.length === 0) await news
    }
  }

  async #write(rows: NewEvent[]): Promise<void> {
    for (let start = 0; start < rows.length; start += atOnce) {
      const some = rows.slice(start, start + atOnce)
      await this.#db.transaction().execute(async (trx) => {
        const storedAt = Date.now()
        for (const { deployment_id, server_id, at, data } of some)
          await trx.executeQuery({ ...this.#insert, parameters: [deployment_id, server_id, at, data, storedAt] })
      })
      const now = Date.now()
      for (const { at } of some) this.stored.observe((now - at) / 1_000)
      this.wake()
    }
  }

  #news(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        this.#readers.delete(done)
        resolve()
      }
      const timer = setTimeout(done, pollInterval)
      this.#readers.add(done)
      signal.addEventListener('abort', done, { once: true })
    })
  }
}
