import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { sharedHolderSchema, type SharedHolder } from '../protocol/shared-record.ts'

/** How many commands are remembered; older ones have expired long before. */
const remembered = 2_000

export type Past = { state: 'new' } | { state: 'done'; result: unknown } | { state: 'interrupted' }

/**
 * What this agent was told to do and what came of it, so that a step asked twice is done once, across its own death. An
 * embedded database, because it is the most trusted way to survive a kill at any byte. Every write is on disk before
 * it is answered.
 */
export class Journal implements Disposable {
  readonly #database: DatabaseSync
  readonly #running = new Set<string>()

  constructor(stateDirectory: string) {
    mkdirSync(stateDirectory, { recursive: true, mode: 0o700 })
    this.#database = new DatabaseSync(join(stateDirectory, 'journal.db'))
    this.#database.exec(`
      PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 3000;
      CREATE TABLE IF NOT EXISTS commands (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, method TEXT NOT NULL, result TEXT);
      CREATE TABLE IF NOT EXISTS epochs (place TEXT PRIMARY KEY, epoch INTEGER NOT NULL);
      CREATE TABLE IF NOT EXISTS locks (place TEXT PRIMARY KEY, holder TEXT NOT NULL, expires INTEGER NOT NULL);
    `)
  }

  /** Notes that a command begins, and tells whether it began before: with what result, or cut off in the middle. */
  begin(id: string, method: string): Past {
    const row = this.#database.prepare('SELECT result FROM commands WHERE id = ?').get(id) as { result: string | null } | undefined
    if (row?.result != null) return { state: 'done', result: JSON.parse(row.result) as unknown }
    if (row) return { state: 'interrupted' }
    this.#database.prepare('INSERT INTO commands (id, method) VALUES (?, ?)').run(id, method)
    this.#database.prepare('DELETE FROM commands WHERE seq <= (SELECT max(seq) FROM commands) - ?').run(remembered)
    this.#running.add(id)
    return { state: 'new' }
  }

  /** Whether this very process is at the command now. */
  isRunning(id: string): boolean {
    return this.#running.has(id)
  }

  end(id: string, result: unknown): void {
    this.#database.prepare('UPDATE commands SET result = ? WHERE id = ?').run(JSON.stringify(result ?? null), id)
    this.#running.delete(id)
  }

  /** Forgets a command that failed, so that asking again tries again. */
  forget(id: string): void {
    this.#database.prepare('DELETE FROM commands WHERE id = ?').run(id)
    this.#running.delete(id)
  }

  /** The highest fencing token seen for an application's environment; 0 before the first. */
  epoch(application: string, environment: string): number {
    const row = this.#database.prepare('SELECT epoch FROM epochs WHERE place = ?').get(`${application}/${environment}`) as { epoch: number } | undefined
    return row?.epoch ?? 0
  }

  raiseEpoch(application: string, environment: string, epoch: number): void {
    this.#database.prepare('INSERT INTO epochs (place, epoch) VALUES (?, ?) ON CONFLICT (place) DO UPDATE SET epoch = max(epoch, excluded.epoch)').run(`${application}/${environment}`, epoch)
  }

  /** Does something while no other agent on this server does such a thing. */
  exclusively<T>(work: () => T): T {
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      const result = work()
      this.#database.exec('COMMIT')
      return result
    } catch (error) {
      this.#database.exec('ROLLBACK')
      throw error
    }
  }

  /** Who holds the lock of an application's environment, and for how many milliseconds still; null if nobody does. */
  lock(application: string, environment: string, now: number): (SharedHolder & { left: number }) | null {
    const row = this.#database.prepare('SELECT holder, expires FROM locks WHERE place = ?').get(`${application}/${environment}`) as { holder: string; expires: number } | undefined
    return row && row.expires > now ? { ...sharedHolderSchema.parse(JSON.parse(row.holder)), left: row.expires - now } : null
  }

  /** Gives the lock to a holder until `expires`, or, with null, to nobody. */
  setLock(application: string, environment: string, holder: SharedHolder | null, expires: number): void {
    const place = `${application}/${environment}`
    if (holder === null) this.#database.prepare('DELETE FROM locks WHERE place = ?').run(place)
    else this.#database.prepare('INSERT INTO locks (place, holder, expires) VALUES (?, ?, ?) ON CONFLICT (place) DO UPDATE SET holder = excluded.holder, expires = excluded.expires').run(place, JSON.stringify(holder), expires)
  }

  [Symbol.dispose](): void {
    this.#database.close()
  }
}
