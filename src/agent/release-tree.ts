import { chmodSync, cpSync, lstatSync, mkdirSync, readdirSync, readlinkSync, rmSync, symlinkSync, type Stats } from 'node:fs'
import { dirname, join } from 'node:path'
import { diffManifests, type Entry, type FileEntry, type Manifest } from '../protocol/manifest.ts'
import { hasMark, type ObjectStore } from './object-store.ts'

export interface TreeOptions {
  store: ObjectStore
  manifest: Manifest
  /** Paths that are links into `shared` instead. */
  shared: readonly string[]
  /** Absolute path of the directory that outlives releases. */
  sharedDirectory: string
  /** What the tree at `path` was made from; null: unknown, or there is none. What differs from it is linked anew. */
  before: Manifest | null
}

/**
 * Makes the directory `path` exactly the manifest: what is right stays, what is not named goes, what is missing is
 * linked. An empty directory becomes a release; an old release's becomes a new one for the price of the difference;
 * a whole one is only checked. Answers how many files had to be linked.
 */
export function makeTree(path: string, options: TreeOptions): { linked: number } {
  mkdirSync(path, { recursive: true, mode: 0o755 })
  const wanted = wantedEntries(options)
  const directories = directoriesOf(wanted)
  const changed = options.before === null ? null : changedPaths(options.before, options.manifest)
  const present = new Set<string>()
  const visit = (directory: string) => {
    for (const item of readdirSync(join(path, directory), { withFileTypes: true })) {
      const name = directory === '' ? item.name : `${directory}/${item.name}`
      const full = `${path}/${name}`
      if (item.isDirectory()) {
        if (!directories.has(name)) rmSync(full, { recursive: true, force: true })
        else {
          present.add(name)
          visit(name)
        }
        continue
      }
      const entry = wanted.get(name)
      if (entry !== undefined && isRight(full, entry, changed)) present.add(name)
      else rmSync(full, { force: true })
    }
  }
  visit('')
  for (const directory of directories) if (!present.has(directory)) mkdirSync(join(path, directory), { mode: 0o755, recursive: true })
  let linked = 0
  for (const [name, entry] of wanted) {
    if (present.has(name)) continue
    if (entry.kind === 'file') {
      options.store.link(entry, join(path, name))
      linked++
    } else if (entry.kind === 'link') symlinkSync(entry.target, join(path, name))
  }
  return { linked }
}

/** Makes what `shared` names, with the release's own content where there was none yet. `path` is a tree that was made. */
export function seedShared(options: TreeOptions): void {
  for (const shared of options.shared) {
    const place = join(options.sharedDirectory, shared)
    if (lstatSync(place, { throwIfNoEntry: false })) continue
    const entries = options.manifest.entries.filter((entry) => entry.path === shared || entry.path.startsWith(`${shared}/`))
    const file = entries.find((entry): entry is FileEntry => entry.path === shared && entry.kind === 'file')
    mkdirSync(file ? dirname(place) : place, { recursive: true })
    if (entries.length === 0) continue
    // Copies, and writable: these files are the application's from now on.
    const scratch = `${place}.new-${process.pid}`
    rmSync(scratch, { recursive: true, force: true })
    for (const entry of entries) {
      const target = entry.path === shared ? scratch : join(scratch, entry.path.slice(shared.length + 1))
      if (entry.kind === 'directory') mkdirSync(target, { recursive: true })
      else if (entry.kind === 'link') {
        mkdirSync(dirname(target), { recursive: true })
        symlinkSync(entry.target, target)
      } else {
        mkdirSync(dirname(target), { recursive: true })
        options.store.link(entry, `${target}.link`)
        cpSync(`${target}.link`, target)
        rmSync(`${target}.link`)
        chmodSync(target, entry.executable ? 0o755 : 0o644)
      }
    }
    cpSync(scratch, place, { recursive: true, force: false, verbatimSymlinks: true })
    rmSync(scratch, { recursive: true, force: true })
  }
}

function wantedEntries(options: TreeOptions): Map<string, Entry> {
  const wanted = new Map<string, Entry>()
  const { shared } = options
  for (const entry of options.manifest.entries) {
    if (shared.some((path) => entry.path === path || entry.path.startsWith(`${path}/`))) continue
    wanted.set(entry.path, entry)
  }
  for (const path of shared) {
    // releases/41/a/b -> ../../../shared/a/b: relative, so that the whole directory can be moved.
    const target = `${'../'.repeat(path.split('/').length + 1)}shared/${path}`
    wanted.set(path, { kind: 'link', path, target })
  }
  return wanted
}

/** Every directory that the entries need, parents before children. */
function directoriesOf(wanted: ReadonlyMap<string, Entry>): Set<string> {
  const directories = new Set<string>()
  const add = (path: string) => {
    if (path === '' || path === '.' || directories.has(path)) return
    const slash = path.lastIndexOf('/')
    if (slash > 0) add(path.slice(0, slash))
    directories.add(path)
  }
  for (const [path, entry] of wanted) {
    if (entry.kind === 'directory') add(path)
    else {
      const slash = path.lastIndexOf('/')
      if (slash > 0) add(path.slice(0, slash))
    }
  }
  return directories
}

function changedPaths(before: Manifest, after: Manifest): Set<string> {
  const { changed } = diffManifests(before, after)
  return new Set(changed.map(({ path }) => path))
}

/** `changed`: paths whose content is another than the tree was made with; null: nothing is known of the tree's content. */
function isRight(full: string, entry: Entry, changed: ReadonlySet<string> | null): boolean {
  const stat: Stats = lstatSync(full)
  if (entry.kind === 'link') return stat.isSymbolicLink() && readlinkSync(full) === entry.target
  if (entry.kind === 'directory' || !stat.isFile()) return false
  // The mark alone has 16 bits: enough to notice a write, not enough to tell two versions of a file apart.
  if (changed === null || changed.has(entry.path)) return false
  return stat.size === entry.size && hasMark(stat.mtimeMs, entry.digest) && ((stat.mode & 0o111) !== 0) === entry.executable
}

