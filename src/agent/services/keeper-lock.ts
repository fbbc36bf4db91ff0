import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

/** How long a keeper that is about to end may still hold the directory. Milliseconds. */
const patience = 1_000

/**
 * Makes this process the only keeper of a directory for as long as it lives: two would start everything twice. Null if
 * there is one. The lock of an embedded database, because the kernel lets go of it however its holder ends.
 */
export function lockKeeper(directory: string): Disposable | null {
  const database = new DatabaseSync(join(directory, 'keeper.lock'), { timeout: patience })
  try {
    database.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    if (/locked|busy/i.test((error as Error).message)) return null
    throw error
  }
  return { [Symbol.dispose]: () => database.close() }
}
