import {
  chmodSync,
  cpSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  type Stats,
} from 'node:fs'
import { dirname, join } from 'node:path'
import {
  diffManifests,
  type Digest,
  type Entry,
  type FileEntry,
  type LinkEntry,
  type Manifest,
} from '../protocol/manifest.ts'
import { hasMark, type ObjectStore } from './object-store.ts'

export interface TreeOptions {
  store: ObjectStore
  manifest: Manifest
  /** Paths that are links into `shared` instead. */
  shared: readonly string[]
  /** Absolute path of the directory that outlives releases. */
  sharedDirectory: string
  /** Files that go along although the manifest does not name them: assets of the other release. */
  also?: readonly FileEntry[]
  /** Paths that are the service's own in each release: copies that it may write to. */
  writable?: readonly string[]
  /** To whom they belong; null: to whom the agent runs as. */
  owner?: { uid: number; gid: number } | null
  /** The tree is that of a release which stands here: what is writable in it stays as it is. */
  standing?: boolean
  /** What the manifest does not name stays. */
  keepOthers?: boolean
  /** Gets the paths of files of a standing release that were not as its manifest says. */
  changed?: Set<string>
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
  const changed = options.before === null ? null : changedPaths(options.before, options.manifest)
  // What a spare tree held beside its manifest, nobody wrote down.
  for (const { path: asset } of options.also ?? []) changed?.add(asset)
  const apart = contentsApart([...options.manifest.entries, ...(options.also ?? [])])
  const also = new Set(options.also?.map(({ path: asset }) => asset))
  let linked = 0
  const visit = (full: string, wanted: Folder) => {
    const present = new Set<string>()
    for (const name of readdirSync(full)) {
      const want = wanted.get(name)
      const at = `${full}/${name}`
      if (want === undefined) {
        if (options.keepOthers !== true) rmSync(at, { recursive: true, force: true })
      } else if (want instanceof Map ? lstatSync(at).isDirectory() : isRight(at, want, changed, apart, options))
        present.add(name)
      else rmSync(at, { recursive: true, force: true })
    }
    for (const [name, want] of wanted) {
      const at = `${full}/${name}`
      if (want instanceof Map) {
        if (!present.has(name)) mkdirSync(at, { mode: 0o755 })
        visit(at, want)
      } else if (present.has(name)) continue
      else if (want.kind === 'link') symlinkSync(want.target, at)
      else if (want.kind === 'own') makeOwn(at, want, options)
      else {
        if (options.standing === true && !also.has(want.path)) {
          options.changed?.add(want.path)
          // Whoever wrote to the one may have written to the other, which is the same file.
          options.store.verify(want)
        }
        if (apart.has(want.digest)) options.store.copy(want, at)
        else options.store.link(want, at)
        linked++
      }
    }
  }
  try {
    visit(path, wantedTree(options))
  } finally {
    options.store.forget()
  }
  return { linked }
}

/** Makes what `shared` names, with the release's own content where there was none yet. `path` is a tree that was made. */
export function seedShared(options: TreeOptions): void {
  for (const shared of options.shared) {
    const place = join(options.sharedDirectory, shared)
    if (lstatSync(place, { throwIfNoEntry: false })) continue
    const entries = options.manifest.entries.filter(
      (entry) => entry.path === shared || entry.path.startsWith(`${shared}/`),
    )
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

/** What a folder has to hold, by name. */
type Folder = Map<string, FileEntry | LinkEntry | OwnPlace | Folder>

/** A place that is the service's own, and what it begins with. */
interface OwnPlace {
  kind: 'own'
  path: string
  entries: Entry[]
}

/**
 * Contents that more than one path of a release has, and the empty one: each such path is a file of its own, so that who
 * writes to one does not write to another.
 */
export function contentsApart(entries: readonly Entry[]): ReadonlySet<Digest> {
  const seen = new Set<Digest>()
  const apart = new Set<Digest>()
  for (const entry of entries) {
    if (entry.kind !== 'file') continue
    if (entry.size === 0 || seen.has(entry.digest)) apart.add(entry.digest)
    seen.add(entry.digest)
  }
  return apart
}

function makeOwn(place: string, { path, entries }: OwnPlace, options: TreeOptions): void {
  const made: string[] = []
  const folder = (at: string) => {
    const first = mkdirSync(at, { recursive: true, mode: 0o755 })
    for (let one = at; first !== undefined && one.length >= first.length; one = dirname(one)) made.push(one)
  }
  if (!entries.some((entry) => entry.path === path && entry.kind === 'file')) folder(place)
  for (const entry of entries) {
    const at = `${place}${entry.path.slice(path.length)}`
    if (entry.kind === 'directory') {
      folder(at)
      continue
    }
    if (entry.path !== path) folder(dirname(at))
    if (entry.kind === 'link') symlinkSync(entry.target, at)
    else options.store.copy(entry, at, entry.executable ? 0o755 : 0o644)
    made.push(at)
  }
  const { owner } = options
  if (owner) for (const at of made) lchownSync(at, owner.uid, owner.gid)
}

function wantedTree(options: TreeOptions): Folder {
  const { shared } = options
  const top: Folder = new Map()
  const folders = new Map<string, Folder>([['', top]])
  const folderOf = (path: string): Folder => {
    const known = folders.get(path)
    if (known) return known
    const slash = path.lastIndexOf('/')
    const parent = folderOf(slash < 0 ? '' : path.slice(0, slash))
    const folder: Folder = new Map()
    parent.set(path.slice(slash + 1), folder)
    folders.set(path, folder)
    return folder
  }
  const owns = (options.writable ?? []).map((path): OwnPlace => ({ kind: 'own', path, entries: [] }))
  for (const entry of [...options.manifest.entries, ...(options.also ?? [])]) {
    if (shared.some((path) => entry.path === path || entry.path.startsWith(`${path}/`))) continue
    const own = owns.find(({ path }) => entry.path === path || entry.path.startsWith(`${path}/`))
    if (own) own.entries.push(entry)
    else if (entry.kind === 'directory') folderOf(entry.path)
    else put(entry)
  }
  for (const own of owns) put(own)
  for (const path of shared) {
    // releases/41/a/b -> ../../../shared/a/b: relative, so that the whole directory can be moved.
    put({ kind: 'link', path, target: `${'../'.repeat(path.split('/').length + 1)}shared/${path}` })
  }
  return top

  function put(entry: FileEntry | LinkEntry | OwnPlace): void {
    const slash = entry.path.lastIndexOf('/')
    folderOf(slash < 0 ? '' : entry.path.slice(0, slash)).set(entry.path.slice(slash + 1), entry)
  }
}

function changedPaths(before: Manifest, after: Manifest): Set<string> {
  const { changed } = diffManifests(before, after)
  return new Set(changed.map(({ path }) => path))
}

/** `changed`: paths whose content is another than the tree was made with; null: nothing is known of the tree's content. */
function isRight(
  full: string,
  entry: FileEntry | LinkEntry | OwnPlace,
  changed: ReadonlySet<string> | null,
  apart: ReadonlySet<Digest>,
  { standing }: TreeOptions,
): boolean {
  const stat: Stats = lstatSync(full)
  if (entry.kind === 'own') return standing === true && !stat.isSymbolicLink()
  if (entry.kind === 'link') return stat.isSymbolicLink() && readlinkSync(full) === entry.target
  if (!stat.isFile()) return false
  // The mark alone has 16 bits: enough to notice a write, not enough to tell two versions of a file apart.
  if (changed === null || changed.has(entry.path)) return false
  if (apart.has(entry.digest) && stat.nlink !== 1) return false
  return (
    stat.size === entry.size && hasMark(stat.mtimeMs, entry.digest) && ((stat.mode & 0o111) !== 0) === entry.executable
  )
}
