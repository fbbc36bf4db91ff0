import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { ErrorReport } from '../protocol/errors.ts'
import { sharedHolderSchema, type SharedHolder } from '../protocol/shared-record.ts'

/** How long another agent on this server may have it to itself, from the first statement on. Milliseconds. */
const patience = 3_000
/** How many commands are remembered; older ones have expired long before. */
const remembered = 2_000
/** After how many new ones the older ones are forgotten: each time costs a flush of the disk. */
const forgetEvery = 64

/** `superseded`: it was cut off, and something else was begun in its place since. */
export type Past =
  | { state: 'new' }
  | { state: 'done'; result: unknown }
  | { state: 'failed'; failure: ErrorReport }
  | { state: 'interrupted' }
  | { state: 'superseded' }

/**
 * What this agent was told to do and what came of it, so that a step asked twice is done once, across its own death. An
 * embedded database, because it is the most trusted way to survive a kill at any byte. Every write is on disk before
 * it is answered.
 */
export class Journal implements Disposable {
  readonly #database: DatabaseSync
  #exclusive = false

  constructor(stateDirectory: string) {
    mkdirSync(stateDirectory, { recursive: true, mode: 0o700 })
    this.#database = new DatabaseSync(join(stateDirectory, 'journal.db'), { timeout: patience })
    this.#database.exec(`
      PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
      CREATE TABLE IF NOT EXISTS commands (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, method TEXT NOT NULL, result TEXT);
      CREATE TABLE IF NOT EXISTS epochs (place TEXT PRIMARY KEY, epoch INTEGER NOT NULL);
      CREATE TABLE IF NOT EXISTS locks (place TEXT PRIMARY KEY, holder TEXT NOT NULL, expires INTEGER NOT NULL);
    `)
    // Journals of agents before this one, which leave these columns empty, and may come back.
    const columns = this.#database
      .prepare('PRAGMA table_info(commands)')
      .all()
      .map(({ name }) => name)
    for (const column of ['place', 'failure']) if (!columns.includes(column)) this.#addColumn(column)
  }

  /** Notes that a command begins, and tells whether it began before: with what result, failed, or cut off in the middle. `place`: what it changes. */
  begin(id: string, method: string, place: string): Past {
    const row = this.#database.prepare('SELECT seq, result, failure FROM commands WHERE id = ?').get(id) as
      { seq: number; result: string | null; failure: string | null } | undefined
    if (row?.result != null) return { state: 'done', result: JSON.parse(row.result) as unknown }
    if (row?.failure != null) return { state: 'failed', failure: JSON.parse(row.failure) as ErrorReport }
    if (row)
      return {
        state: this.#database.prepare('SELECT 1 FROM commands WHERE place = ? AND seq > ? LIMIT 1').get(place, row.seq)
          ? 'superseded'
          : 'interrupted',
      }
    this.#note(id, method, place, null)
    return { state: 'new' }
  }

  /** Notes an id that is never to be used again; false: it was. */
  claim(id: string, method: string): boolean {
    if (this.#database.prepare('SELECT 1 FROM commands WHERE id = ?').get(id)) return false
    this.#note(id, method, null, 'null')
    return true
  }

  end(id: string, result: unknown): void {
    this.#database.prepare('UPDATE commands SET result = ? WHERE id = ?').run(JSON.stringify(result ?? null), id)
  }

  /** It failed, and whoever asks by the same id again is told so. */
  fail(id: string, failure: ErrorReport): void {
    this.#database.prepare('UPDATE commands SET failure = ? WHERE id = ?').run(JSON.stringify(failure), id)
  }

  /** The highest fencing token seen for an application's environment; 0 before the first. */
  epoch(application: string, environment: string): number {
    const row = this.#database
      .prepare('SELECT epoch FROM epochs WHERE place = ?')
      .get(`${application}/${environment}`) as { epoch: number } | undefined
    return row?.epoch ?? 0
  }

  raiseEpoch(application: string, environment: string, epoch: number): void {
    this.#database
      .prepare(
        'INSERT INTO epochs (place, epoch) VALUES (?, ?) ON CONFLICT (place) DO UPDATE SET epoch = max(epoch, excluded.epoch)',
      )
      .run(`${application}/${environment}`, epoch)
  }

  /** Does something while no other agent on this server does such a thing. What it writes is stored together, also within another such work. */
  exclusively<T>(work: () => T): T {
    if (this.#exclusive) return work()
    this.#database.exec('BEGIN IMMEDIATE')
    this.#exclusive = true
    try {
      const result = work()
      this.#database.exec('COMMIT')
      return result
    } catch (error) {
      this.#database.exec('ROLLBACK')
      throw error
    } finally {
      this.#exclusive = false
    }
  }

  /** Who holds the lock of an application's environment, and for how many milliseconds still; null if nobody does. */
  lock(application: string, environment: string, now: number): (SharedHolder & { left: number }) | null {
    const row = this.#database
      .prepare('SELECT holder, expires FROM locks WHERE place = ?')
      .get(`${application}/${environment}`) as { holder: string; expires: number } | undefined
    return row && row.expires > now
      ? { ...sharedHolderSchema.parse(JSON.parse(row.holder)), left: row.expires - now }
      : null
  }

  /** Gives the lock to a holder until `expires`, or, with null, to nobody. */
  setLock(application: string, environment: string, holder: SharedHolder | null, expires: number): void {
    const place = `${application}/${environment}`
    if (holder === null) this.#database.prepare('DELETE FROM locks WHERE place = ?').run(place)
    else
      this.#database
        .prepare(
          'INSERT INTO locks (place, holder, expires) VALUES (?, ?, ?) ON CONFLICT (place) DO UPDATE SET holder = excluded.holder, expires = excluded.expires',
        )
        .run(place, JSON.stringify(holder), expires)
  }

  #note(id: string, method: string, place: string | null, result: string | null): void {
    const { lastInsertRowid } = this.#database
      .prepare('INSERT INTO commands (id, method, place, result) VALUES (?, ?, ?, ?)')
      .run(id, method, place, result)
    if (Number(lastInsertRowid) % forgetEvery === 0)
      this.#database.prepare('DELETE FROM commands WHERE seq <= (SELECT max(seq) FROM commands) - ?').run(remembered)
  }

  #addColumn(name: string): void {
    try {
      this.#database.exec(`ALTER TABLE commands ADD COLUMN ${name} TEXT`)
    } catch (error) {
      // Another agent on this server was faster.
      if (!(error as Error).message.includes('duplicate column')) throw error
    }
  }

  [Symbol.dispose](): void {
    this.#database.close()
  }
}
