import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import {
  CompiledQuery,
  Kysely,
  SelectQueryNode,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type DatabaseConnection,
  type Driver,
  type QueryResult,
} from 'kysely'
import type { Tables } from './schema.ts'

/** How long writes may follow each other before the process may do something else. Milliseconds. */
const slice = 10
/** How long another process may have the database to itself, from the first statement on. Milliseconds. */
const patience = 5_000

/**
 * Opens (or makes) the embedded database: write-ahead log, every commit on disk before it is answered.
 *
 * There is one connection for writing, which one transaction has at a time, and one for reading outside of transactions: that waits for no writer,
 * and sees what is committed. `path` is a file, or `:memory:`, which has the first alone.
 */
export function openSqlite(path: string): Kysely<Tables> {
  const driver = new SqliteDriver(path)
  return new Kysely<Tables>({
    dialect: {
      createDriver: () => driver,
      createAdapter: () => new SqliteAdapter(),
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
  })
}

class SqliteDriver implements Driver {
  readonly #writer: Opened
  readonly #reader: Opened | null
  readonly #turns = new Turns()

  constructor(path: string) {
    this.#writer = new Opened(path, 'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON')
    this.#reader = path === ':memory:' ? null : new Opened(path, 'PRAGMA query_only = ON')
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<SqliteConnection> {
    return new SqliteConnection(this.#writer, this.#reader, this.#turns)
  }

  async beginTransaction(connection: SqliteConnection): Promise<void> {
    await connection.hold()
    await connection.executeQuery(CompiledQuery.raw('begin'))
  }

  async commitTransaction(connection: SqliteConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('commit'))
  }

  async rollbackTransaction(connection: SqliteConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('rollback'))
  }

  async releaseConnection(connection: SqliteConnection): Promise<void> {
    connection.letGo()
  }

  async destroy(): Promise<void> {
    this.#reader?.close()
    this.#writer.close()
  }
}

/** What Kysely takes for a connection: it waits for its turn only where it writes. */
class SqliteConnection implements DatabaseConnection {
  readonly #writer: Opened
  readonly #reader: Opened | null
  readonly #turns: Turns
  #held: (() => void) | null = null

  constructor(writer: Opened, reader: Opened | null, turns: Turns) {
    this.#writer = writer
    this.#reader = reader
    this.#turns = turns
  }

  async hold(): Promise<void> {
    this.#held = await this.#turns.take()
  }

  letGo(): void {
    this.#held?.()
    this.#held = null
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    if (this.#held) return this.#writer.run(query)
    if (this.#reader && SelectQueryNode.is(query.query)) return this.#reader.run(query)
    const letGo = await this.#turns.take()
    try {
      return this.#writer.run(query)
    } finally {
      letGo()
    }
  }

  // eslint-disable-next-line require-yield
  async *streamQuery<R>(): AsyncGenerator<QueryResult<R>> {
    throw new Error('Queries are not streamed')
  }
}

/** One after the other, in the order in which they come; what else the process has to do gets its time between them. */
class Turns {
  #last: Promise<void> = Promise.resolve()
  #since = 0

  async take(): Promise<() => void> {
    const before = this.#last
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#last = promise
    await before
    const now = performance.now()
    // All of it happens without leaving the thread: a thousand writes in a row would let nobody else have it.
    if (now - this.#since > slice) {
      await new Promise((done) => setImmediate(done))
      this.#since = performance.now()
    }
    return resolve
  }
}

/** An open database and its prepared statements. */
class Opened {
  readonly #database: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()

  constructor(path: string, pragmas: string) {
    this.#database = new DatabaseSync(path, { timeout: patience })
    this.#database.exec(pragmas)
  }

  run<R>({ sql, parameters }: CompiledQuery): QueryResult<R> {
    const statement = this.#prepared(sql)
    if (statement.columns().length > 0) return { rows: statement.all(...(parameters as SQLInputValue[])) as R[] }
    const { changes, lastInsertRowid } = statement.run(...(parameters as SQLInputValue[]))
    return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) }
  }

  close(): void {
    this.#database.close()
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (!statement) {
      statement = this.#database.prepare(sql)
      if (this.#statements.size < 500) this.#statements.set(sql, statement)
    }
    return statement
  }
}
