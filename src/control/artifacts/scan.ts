import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  writeFileSync,
  type Stats,
} from 'node:fs'
import { join, relative, resolve, sep } from 'node:path'
import { DployError } from '../../protocol/errors.ts'
import { checkPath, digestPattern, type Digest, type Entry } from '../../protocol/manifest.ts'
import { targetOf } from '../sources/link-targets.ts'
import { ObjectStore } from './object-store.ts'
import { scratchName } from './scratch.ts'
import { selection } from './selection.ts'

export interface ScanOptions {
  directory: string
  ship: string[] | undefined
  leaveOut: string[]
  /** Directory of the object store. */
  store: string
  /** File in which digests are remembered by size, times and inode, so that an unchanged file is not read again. */
  cache: string | null
  /** Files of which it is known, in place of a cache, how they looked with a content. */
  known?: KnownFiles
}

/** `ino:size:mtime:ctime` and the digest that the file had then. */
type Remembered = Record<string, [seen: string, digest: Digest]>
/** How files looked, by path, with the digest of what they held; null: nobody has read that yet. */
export type KnownFiles = Record<string, [seen: string, digest: Digest | null]>

export interface Scanned {
  entries: Entry[]
  /** How many files were read. */
  read: number
  /** What those of `known` hold that had no digest and looked the same when they were read. */
  learned: Map<string, Digest>
}

/** How much of a file is read at once. Bytes. */
const chunkBytes = 1024 * 1024
/** How often a file that changes meanwhile is read. */
const maxReads = 3
/**
 * How coarse a file system's times may be (FAT: two seconds). What changed more recently may change once more without
 * being seen by its times; it is read again. Milliseconds.
 */
const timeGrain = 2_000

/**
 * Brings the files of a directory into the object store and answers what a manifest says of them. Synchronous: runs in a
 * worker (measured: several times faster than promises). What vanishes meanwhile is not shipped. Throws `source.unsafe`
 * for what cannot be shipped, `source.unreachable` when the directory is none.
 */
export function scanDirectory(options: ScanOptions, now: () => number = Date.now): Scanned {
  try {
    readdirSync(options.directory)
  } catch (cause) {
    throw new DployError(
      'source.unreachable',
      `The directory ${options.directory} cannot be read: ${(cause as Error).message}`,
      { where: options.directory, fix: 'Name a directory that exists', cause },
    )
  }
  const store = new ObjectStore(options.store)
  const { ships, enters } = selection(options.ship, options.leaveOut)
  const before: KnownFiles = options.known ?? (options.cache === null ? {} : readCache(options.cache))
  const after: Remembered = {}
  const entries: Entry[] = []
  const buffer = Buffer.allocUnsafe(chunkBytes)
  const learned = new Map<string, Digest>()
  let read = 0
  const visit = (path: string): boolean => {
    let any = false
    for (const name of namesIn(join(options.directory, path))) {
      const child = path === '' ? name : `${path}/${name}`
      any = unlessGone(child, join(options.directory, child), () => add(child)) || any
    }
    return any
  }
  /** Whether anything is shipped of it. */
  const add = (child: string): boolean => {
    const full = join(options.directory, child)
    const stat = lstatSync(full)
    if (stat.isDirectory()) {
      if (!enters(child)) return false
      const inside = visit(child)
      if (!inside && ships(child)) {
        checkPath(child)
        entries.push({ kind: 'directory', path: child })
      }
      return inside || ships(child)
    }
    if (!ships(child)) return false
    checkPath(child)
    if (stat.isSymbolicLink())
      entries.push({
        kind: 'link',
        path: child,
        target: insideTarget(options.directory, child, targetOf(readlinkSync(full, { encoding: 'buffer' }), child)),
      })
    else if (stat.isFile()) {
      const executable = (stat.mode & 0o100) !== 0
      const known = before[child]
      const digest = Array.isArray(known) && known[0] === seen(stat) ? known[1] : null
      if (digest !== null && digestPattern.test(digest) && store.has(digest, stat.size)) {
        after[child] = [known![0], digest]
        entries.push({ kind: 'file', path: child, executable, size: stat.size, digest })
      } else {
        const { digest, size, stat: stored } = storeFile(store, full, buffer, child)
        read++
        if (known?.[1] === null && known[0] === seen(stored)) learned.set(child, digest)
        if (Math.max(stored.mtimeMs, stored.ctimeMs) < now() - timeGrain) after[child] = [seen(stored), digest]
        entries.push({ kind: 'file', path: child, executable, size, digest })
      }
    } else
      throw new DployError(
        'source.unsafe',
        `${JSON.stringify(child)} is no file, folder or link (a socket, pipe or device)`,
        { where: child, fix: 'Remove it, or name it in build.leave_out' },
      )
    return true
  }
  visit('')
  store.flushSync()
  if (options.cache !== null) {
    const temporary = `${options.cache}.${scratchName()}`
    writeFileSync(temporary, JSON.stringify(after))
    renameSync(temporary, options.cache)
  }
  return { entries, read, learned }
}

/** How a file looks: it changes with what it holds. */
export function seen(stat: Stats): string {
  return `${stat.ino}:${stat.size}:${stat.mtimeMs}:${stat.ctimeMs}`
}

/** False for what vanished between being listed and being read. Throws `source.unsafe` for what cannot be read. */
function unlessGone(name: string, full: string, read: () => boolean): boolean {
  try {
    return read()
  } catch (cause) {
    const { code, syscall, path, message } = cause as NodeJS.ErrnoException
    const ofSource = path === full || path?.startsWith(full + sep) === true
    if (ofSource && code === 'ENOENT') return false
    if (!ofSource && syscall !== 'read') throw cause
    throw new DployError('source.unsafe', `${JSON.stringify(name)} cannot be read: ${message}`, { where: name, cause })
  }
}

function namesIn(directory: string): string[] {
  return readdirSync(directory, { encoding: 'buffer' })
    .map((bytes) => {
      const name = bytes.toString('utf8')
      if (!Buffer.from(name, 'utf8').equals(bytes))
        throw new DployError(
          'source.unsafe',
          `The file name ${JSON.stringify(bytes.toString('latin1'))} is not valid UTF-8`,
          { where: directory },
        )
      return name
    })
    .sort()
}

/** Stores what a file held at one time, and answers how it looked then. Throws `source.unsafe` when it never stands still. */
function storeFile(
  store: ObjectStore,
  path: string,
  buffer: Buffer,
  name: string,
): { digest: Digest; size: number; stat: Stats } {
  for (let reads = 1; ; reads++) {
    // It may have become a link or a pipe since it was listed: neither is followed or waited for.
    const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const into = store.begin()
    try {
      const stat = fstatSync(file)
      if (!stat.isFile()) throw changing(name)
      for (let length; (length = readSync(file, buffer)) > 0;) into.write(buffer.subarray(0, length))
      if (seen(fstatSync(file)) === seen(stat)) return { ...into.done(), stat }
      if (reads === maxReads) throw changing(name)
    } finally {
      into.abandon()
      closeSync(file)
    }
  }
}

function changing(name: string): DployError {
  return new DployError('source.unsafe', `${JSON.stringify(name)} changes while it is read`, {
    where: name,
    fix: 'Wait until it is written, or name it in build.leave_out',
  })
}

/** An absolute link to something inside the directory becomes relative; one that leads out is refused by the manifest. */
function insideTarget(directory: string, path: string, target: string): string {
  if (!target.startsWith('/')) return target
  const inside = relative(resolve(directory), target)
  if (inside.startsWith(`..${sep}`) || inside === '..') return target
  return relative(join(resolve(directory), path, '..'), target) || '.'
}

function readCache(path: string): Remembered {
  try {
    return (JSON.parse(readFileSync(path, 'utf8')) ?? {}) as Remembered
  } catch {
    return {}
  }
}
