import { DatabaseSync } from 'node:sqlite'
import type { Digest } from '../../protocol/manifest.ts'

/** How long another process may have it to itself, from the first statement on. Milliseconds. */
const patience = 5_000
/** Rows that one statement asks for. */
const batch = 500

/** Which object a git blob is, remembered, so that a blob is read once and never again. git's ids do not change their content. */
export class BlobIndex implements Disposable {
  readonly #database: DatabaseSync

  constructor(path: string) {
    this.#database = new DatabaseSync(path, { timeout: patience })
    this.#database.exec(
      'PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; CREATE TABLE IF NOT EXISTS blobs (oid TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID;',
    )
  }

  /** The digests of those blobs that are known. */
  find(oids: readonly string[]): Map<string, Digest> {
    const found = new Map<string, Digest>()
    for (let start = 0; start < oids.length; start += batch) {
      const part = oids.slice(start, start + batch)
      const rows = this.#database
        .prepare(`SELECT oid, digest FROM blobs WHERE oid IN (${part.map(() => '?').join(',')})`)
        .all(...part) as { oid: string; digest: string }[]
      for (const { oid, digest } of rows) found.set(oid, digest)
    }
    return found
  }

  add(blobs: ReadonlyMap<string, Digest>): void {
    const insert = this.#database.prepare('INSERT OR REPLACE INTO blobs (oid, digest) VALUES (?, ?)')
    this.#database.exec('BEGIN')
    for (const [oid, digest] of blobs) insert.run(oid, digest)
    this.#database.exec('COMMIT')
  }

  [Symbol.dispose](): void {
    this.#database.close()
  }
}
