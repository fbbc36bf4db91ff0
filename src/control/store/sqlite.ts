import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { Kysely, SqliteDialect } from 'kysely'
import type { Tables } from './schema.ts'

/**
 * Opens (or makes) the embedded database: write-ahead log, every commit on disk before it is answered.
 *
 * Kysely's SqliteDialect expects the shape of better-sqlite3; node:sqlite differs in how it tells readers from writers.
 * `path` is a file, or `:memory:`.
 */
export function openSqlite(path: string): Kysely<Tables> {
  const database = new DatabaseSync(path)
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000;')
  const statements = new Map<string, StatementSync>()
  const prepare = (sql: string): StatementSync => {
    let statement = statements.get(sql)
    if (!statement) {
      statement = database.prepare(sql)
      if (statements.size < 500) statements.set(sql, statement)
    }
    return statement
  }
  return new Kysely<Tables>({
    dialect: new SqliteDialect({
      database: {
        prepare(sql: string) {
          const statement = prepare(sql)
          return {
            reader: statement.columns().length > 0,
            all: (parameters: readonly unknown[]) => statement.all(...(parameters as SQLInputValue[])),
            run: (parameters: readonly unknown[]) => statement.run(...(parameters as SQLInputValue[])),
            iterate: (parameters: readonly unknown[]) => statement.iterate(...(parameters as SQLInputValue[])),
          }
        },
        close: () => database.close(),
      },
    }),
  })
}
