import { createHash } from 'node:crypto'
import { DployError } from './errors.ts'

/** SHA-256 in lower-case hex. */
export type Digest = string

export interface FileEntry {
  kind: 'file'
  path: string
  executable: boolean
  /** Bytes. */
  size: number
  digest: Digest
}
export interface LinkEntry {
  kind: 'link'
  path: string
  /** As readlink gives it; always relative, always inside the tree. */
  target: string
}
/** Only an empty directory has an entry of its own. */
export interface DirectoryEntry {
  kind: 'directory'
  path: string
}
export type Entry = FileEntry | LinkEntry | DirectoryEntry

/** What an artifact consists of. `entries` are sorted by path (UTF-16 code units); `digest` names the whole. */
export interface Manifest {
  digest: Digest
  entries: Entry[]
}

/** What turns one manifest into another. */
export interface ManifestDelta {
  removed: string[]
  changed: Entry[]
}

export const digestPattern = /^[0-9a-f]{64}$/

/**
 * A manifest over these entries, sorted and checked.
 *
 * Throws `source.unsafe` for a path that is absolute, has `..`, an empty or over-long segment or a NUL, stands twice,
 * lies under a file or a link, and for a link that leads out of the tree.
 */
export function makeManifest(entries: Iterable<Entry>): Manifest {
  const sorted = [...entries].sort(byPath)
  checkEntries(sorted)
  return named(sorted)
}

/** The texts of manifests that were just made, until somebody asks for them. */
const texts = new WeakMap<Manifest, string>()

function named(entries: Entry[]): Manifest {
  const text = encodeEntries(entries)
  const manifest = { digest: createHash('sha256').update(text).digest('hex'), entries }
  texts.set(manifest, text)
  return manifest
}

/** The canonical text of a manifest, to be kept: it is not made again the first time that it is asked for. */
export function textOf(manifest: Manifest): string {
  const text = texts.get(manifest)
  texts.delete(manifest)
  return text ?? encodeEntries(manifest.entries)
}

/**
 * The canonical text of entries. Records end in NUL, so that any file name fits:
 * `f TAB size TAB digest TAB path`, `x …` for an executable, `d TAB path`, `l TAB path NUL target`.
 */
export function encodeEntries(entries: readonly Entry[]): string {
  const records: string[] = []
  for (const entry of entries) {
    switch (entry.kind) {
      case 'file':
        records.push(`${entry.executable ? 'x' : 'f'}\t${entry.size}\t${entry.digest}\t${entry.path}\0`)
        break
      case 'link':
        records.push(`l\t${entry.path}\0${entry.target}\0`)
        break
      case 'directory':
        records.push(`d\t${entry.path}\0`)
        break
      default:
        entry satisfies never
    }
  }
  return records.join('')
}

/** Reads a manifest from its canonical text and checks it as `makeManifest` does; `protocol.invalid` when it cannot be read. */
export function decodeManifest(text: string): Manifest {
  const { changed, removed } = decodeDelta(text)
  if (removed.length > 0) throw new DployError('protocol.invalid', 'A manifest has no removals')
  return makeManifest(changed)
}

/** The text of a delta: removals as `- TAB path`, then the changed entries. */
export function encodeDelta(delta: ManifestDelta): string {
  return delta.removed.map((path) => `-\t${path}\0`).join('') + encodeEntries(delta.changed)
}

/** Reads the text of a delta. Throws `protocol.invalid`. */
export function decodeDelta(text: string): ManifestDelta {
  const records = text.split('\0')
  if (records.pop() !== '') throw new DployError('protocol.invalid', 'A manifest does not end where a record ends')
  const removed: string[] = []
  const changed: Entry[] = []
  for (let index = 0; index < records.length; index++) {
    const record = records[index]!
    const kind = record.slice(0, 2)
    if (kind === 'f\t' || kind === 'x\t') {
      const sizeEnd = record.indexOf('\t', 2)
      const digestEnd = record.indexOf('\t', sizeEnd + 1)
      const size = Number(record.slice(2, sizeEnd))
      const digest = record.slice(sizeEnd + 1, digestEnd)
      if (sizeEnd < 0 || digestEnd < 0 || !Number.isSafeInteger(size) || size < 0 || !digestPattern.test(digest))
        throw unreadable(record)
      changed.push({ kind: 'file', path: record.slice(digestEnd + 1), executable: kind === 'x\t', size, digest })
    } else if (kind === 'l\t') {
      const target = records[++index]
      if (target === undefined) throw unreadable(record)
      changed.push({ kind: 'link', path: record.slice(2), target })
    } else if (kind === 'd\t') {
      changed.push({ kind: 'directory', path: record.slice(2) })
    } else if (kind === '-\t') {
      removed.push(record.slice(2))
    } else {
      throw unreadable(record)
    }
  }
  return { removed, changed }
}

/** What has to be done to `from` to get `to`. Both sorted, as manifests are; one pass. */
export function diffManifests(from: Manifest | null, to: Manifest): ManifestDelta {
  const old = from?.entries ?? []
  const removed: string[] = []
  const changed: Entry[] = []
  let index = 0
  for (const entry of to.entries) {
    while (index < old.length && old[index]!.path < entry.path) removed.push(old[index++]!.path)
    const before = old[index]
    if (before?.path === entry.path) {
      index++
      if (sameEntry(before, entry)) continue
    }
    changed.push(entry)
  }
  while (index < old.length) removed.push(old[index++]!.path)
  return { removed, changed }
}

/**
 * Applies a delta. The caller compares the digest of the result with the one it was promised. One pass over `from`,
 * of which only what the delta touches is checked again. Throws as `makeManifest` does.
 */
export function applyDelta(from: Manifest | null, delta: ManifestDelta): Manifest {
  const old = from?.entries ?? []
  const changed = delta.changed.toSorted(byPath)
  const removed = new Set(delta.removed)
  const entries: Entry[] = []
  let index = 0
  for (const entry of changed) {
    while (index < old.length && old[index]!.path < entry.path) {
      if (!removed.has(old[index]!.path)) entries.push(old[index]!)
      index++
    }
    if (old[index]?.path === entry.path) index++
    entries.push(entry)
  }
  for (; index < old.length; index++) if (!removed.has(old[index]!.path)) entries.push(old[index]!)
  checkChanged(entries, changed)
  return named(entries)
}

/** Whether two entries of the same path are the same thing. */
export function sameEntry(a: Entry, b: Entry): boolean {
  if (a.kind === 'file') return b.kind === 'file' && a.digest === b.digest && a.executable === b.executable
  if (a.kind === 'link') return b.kind === 'link' && a.target === b.target
  return b.kind === 'directory'
}

/** The objects of manifests that somebody asked for; each server of a deployment asks for those of the same. */
const objects = new WeakMap<Manifest, ReadonlyMap<Digest, number>>()

/** The digests that a manifest names, each once, with their sizes in bytes. */
export function objectsOf(manifest: Manifest): ReadonlyMap<Digest, number> {
  const known = objects.get(manifest)
  if (known) return known
  const found = new Map<Digest, number>()
  for (const entry of manifest.entries) if (entry.kind === 'file') found.set(entry.digest, entry.size)
  objects.set(manifest, found)
  return found
}

/** Throws `source.unsafe` unless the path is relative, stays inside, and can be made on ext4 and xfs. */
export function checkPath(path: string): void {
  const problem = problemOfPath(path)
  if (problem !== null)
    throw new DployError('source.unsafe', `The path ${JSON.stringify(path)} ${problem}`, { where: path })
}

function problemOfPath(path: string): string | null {
  if (path === '') return 'is empty'
  if (path.startsWith('/')) return 'is absolute'
  if (path.includes('\0')) return 'has a NUL byte'
  if (!path.isWellFormed() || path.includes('\ufffd')) return 'is not valid UTF-8'
  if (Buffer.byteLength(path) > 3500) return 'is longer than 3500 bytes'
  for (const segment of path.split('/')) {
    if (segment === '' || segment === '.' || segment === '..') return `has the segment ${JSON.stringify(segment)}`
    if (segment.length > 63 && Buffer.byteLength(segment) > 255) return 'has a name longer than 255 bytes'
  }
  return null
}

function problemOfTarget(path: string, target: string): string | null {
  if (target === '') return 'is a link to nothing'
  if (target.startsWith('/')) return `is a link to ${JSON.stringify(target)}, outside the tree`
  if (target.includes('\0')) return 'is a link whose target has a NUL byte'
  let depth = path.split('/').length - 1
  for (const segment of target.split('/')) {
    if (segment === '..') depth--
    else if (segment !== '.' && segment !== '') depth++
    if (depth < 0) return `is a link to ${JSON.stringify(target)}, outside the tree`
  }
  return null
}

/** As `checkEntries`, where all but `changed` was checked before. */
function checkChanged(sorted: readonly Entry[], changed: readonly Entry[]): void {
  const at = (path: string): Entry | undefined => sorted[lowerBound(sorted, path)]
  for (const [index, entry] of changed.entries()) {
    checkEntry(entry, changed[index - 1]?.path)
    for (let slash = entry.path.lastIndexOf('/'); slash > 0; slash = entry.path.lastIndexOf('/', slash - 1)) {
      const parent = entry.path.slice(0, slash)
      const found = at(parent)
      if (found?.path === parent && found.kind !== 'directory') throw underNoDirectory(entry.path, parent)
    }
    if (entry.kind === 'directory') continue
    const below = at(`${entry.path}/`)
    if (below?.path.startsWith(`${entry.path}/`)) throw underNoDirectory(below.path, entry.path)
  }
}

/** Index of the first entry whose path is not before `path`. */
function lowerBound(sorted: readonly Entry[], path: string): number {
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (sorted[middle]!.path < path) low = middle + 1
    else high = middle
  }
  return low
}

function checkEntry(entry: Entry, previous: string | undefined): void {
  checkPath(entry.path)
  if (entry.path === previous)
    throw new DployError('source.unsafe', `The path ${JSON.stringify(entry.path)} stands twice`, { where: entry.path })
  if (entry.kind !== 'link') return
  const problem = problemOfTarget(entry.path, entry.target)
  if (problem !== null)
    throw new DployError('source.unsafe', `${JSON.stringify(entry.path)} ${problem}`, { where: entry.path })
}

function underNoDirectory(path: string, parent: string): DployError {
  return new DployError(
    'source.unsafe',
    `${JSON.stringify(path)} lies under ${JSON.stringify(parent)}, which is no directory`,
    { where: path },
  )
}

function checkEntries(sorted: readonly Entry[]): void {
  const notDirectories = new Set<string>()
  for (const entry of sorted) if (entry.kind !== 'directory') notDirectories.add(entry.path)
  let previous: string | undefined
  let checkedParent = ''
  for (const entry of sorted) {
    checkEntry(entry, previous)
    previous = entry.path
    const slash = entry.path.lastIndexOf('/')
    const parent = slash < 0 ? '' : entry.path.slice(0, slash)
    if (parent === checkedParent) continue
    for (let at = parent.length; at > 0; at = parent.lastIndexOf('/', at - 1)) {
      if (notDirectories.has(parent.slice(0, at))) throw underNoDirectory(entry.path, parent.slice(0, at))
    }
    checkedParent = parent
  }
}

function byPath(a: Entry, b: Entry): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0
}

function unreadable(record: string): DployError {
  return new DployError(
    'protocol.invalid',
    `A record of a manifest cannot be read: ${JSON.stringify(record.slice(0, 80))}`,
  )
}
