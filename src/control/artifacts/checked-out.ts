import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate, setTimeout as delay } from 'node:timers/promises'
import type { Digest } from '../../protocol/manifest.ts'
import type { TreeItem } from '../sources/revision-tree.ts'
import type { BlobIndex } from './blob-index.ts'
import { seen, type KnownFiles } from './scan.ts'

/** Fewer files, with less in them, are read as quickly as they are looked at. */
const worth = { files: 500, bytes: 4 * 1024 * 1024 }
/** So many are looked at before others get their turn. */
const batch = 500
/** File systems take their times from a clock that goes in steps (100 a second, at the slowest): what is written after this has another. Milliseconds. */
const clockStep = 20
/** Under which name the index has a blob as it is checked out: .gitattributes may make another content of it than what is shipped without a build. */
const asCheckedOut = (oid: string) => `checked out ${oid}`

/**
 * How files looked when they had been checked out, and what git calls what they hold: one that looks the same after the build holds the
 * same, and need not be read if its blob was seen before. Whoever writes to a file sets the time of its change, also who puts the time of
 * modification back.
 */
export class CheckedOut {
  readonly #files: ReadonlyMap<string, { oid: string; seen: string }>

  private constructor(files: ReadonlyMap<string, { oid: string; seen: string }>) {
    this.#files = files
  }

  /** Looks at all files of a tree below `directory`, before anything else writes there. */
  static async look(directory: string, items: readonly TreeItem[]): Promise<CheckedOut> {
    const files = new Map<string, { oid: string; seen: string }>()
    const plain = items.filter(({ kind }) => kind === 'file')
    if (plain.length < worth.files && plain.reduce((sum, { size }) => sum + size, 0) < worth.bytes)
      return new CheckedOut(files)
    let fine = false
    let last = 0
    for (const [index, { path, oid }] of plain.entries()) {
      if (index % batch === batch - 1) await setImmediate()
      const stat = lstatSync(join(directory, path))
      last = Math.max(last, stat.mtimeMs, stat.ctimeMs)
      if (stat.ctimeMs % 1_000 !== 0) fine = true
      files.set(path, { oid, seen: seen(stat) })
    }
    // Where times are whole seconds they say nothing of what a build changes within one.
    if (!fine) return new CheckedOut(new Map())
    await delay(Math.max(0, last + clockStep - Date.now()))
    return new CheckedOut(files)
  }

  /** For a scan of the same directory: the digests of those whose blobs are known. */
  known(blobs: BlobIndex): KnownFiles {
    const digests = blobs.find([...new Set([...this.#files.values()].map(({ oid }) => asCheckedOut(oid)))])
    return Object.fromEntries(
      [...this.#files].map(([path, { oid, seen }]) => [path, [seen, digests.get(asCheckedOut(oid)) ?? null]]),
    )
  }

  /** Remembers what a scan has read of files that were as checked out. */
  remember(learned: ReadonlyMap<string, Digest>, blobs: BlobIndex): void {
    blobs.add(new Map([...learned].map(([path, digest]) => [asCheckedOut(this.#files.get(path)!.oid), digest])))
  }
}
