import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { dataDirectory } from '../connect.ts'

const source = new URL('../../../docs/dploy.schema.json', import.meta.url)

/** Where a dploy.yml finds its schema, relative to itself: offline, of the dploy that is used here, and not in git. */
export const schemaPlace = '.dploy/dploy.schema.json'

/** Puts the schema of this dploy beside a dploy.yml, for editors. Nothing depends on it: where it cannot be written, it is not. */
export function placeSchema(base: string): void {
  try {
    const target = join(base, schemaPlace)
    const made = statSync(target, { throwIfNoEntry: false })
    const now = statSync(source)
    if (made && made.size === now.size && made.mtimeMs >= now.mtimeMs) return
    dataDirectory(base)
    writeFileSync(`${target}.${process.pid}`, readFileSync(source))
    renameSync(`${target}.${process.pid}`, target)
  } catch {
    // A directory of somebody else, a full disk.
  }
}
