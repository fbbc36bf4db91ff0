import { createHash, randomBytes, type Hash } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  futimesSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { DployError } from '../protocol/errors.ts'
import type { Digest, Entry, FileEntry } from '../protocol/manifest.ts'
import type { PackedObject, PackSink } from '../protocol/pack.ts'
import { isLeft, unfinishedName } from './unfinished.ts'

/** Up to so many new objects are flushed one by one; more are flushed with the whole file system. */
const flushSingly = 64
/** Contents up to so many bytes are kept while a tree is made, and so many of them. */
const keptSize = 16 * 1024
const keptContents = 1_000

/**
 * The files of all releases, each once, by digest. Releases are hard links to them, so an application that writes into
 * a file of its release would write into the store. Objects are read-only, and what is written all the same is seen
 * without reading: the modification time carries a mark of the digest in its fraction of a second, which a write
 * replaces. A changed object is dropped (the running release keeps its inode) and fetched again.
 */
export class ObjectStore {
  readonly #directory: string
  /** Contents that are copied to several paths, while one tree is made. */
  readonly #contents = new Map<Digest, { content: Buffer; mtimeMs: number }>()

  constructor(directory: string) {
    this.#directory = directory
    mkdirSync(join(directory, 'new'), { recursive: true })
    for (const name of readdirSync(join(directory, 'new')))
      if (isLeft(name)) rmSync(join(directory, 'new', name), { force: true })
  }

  /** Of the objects of entries, those that are not here, with their sizes in bytes, and how many of them were but had been changed. */
  missing(entries: readonly Entry[]): { wanted: Map<Digest, number>; repaired: number } {
    const wanted = new Map<Digest, number>()
    let repaired = 0
    for (const entry of entries) {
      if (entry.kind !== 'file' || wanted.has(entry.digest)) continue
      const state = this.#state(entry)
      if (state === 'intact') continue
      if (state === 'changed') repaired++
      wanted.set(entry.digest, entry.size)
    }
    return { wanted, repaired }
  }

  /** Whether the entry's object is here, unchanged. */
  holds(entry: FileEntry): boolean {
    return this.#state(entry) === 'intact'
  }

  /** Makes `path` a hard link to the entry's object. Throws `object.missing`, also when the object had been changed. */
  link(entry: FileEntry, path: string): void {
    if (this.#state(entry) !== 'intact')
      throw new DployError('object.missing', `The object of ${JSON.stringify(entry.path)} is not in the store`)
    const source = this.#path(entry.digest, entry.executable)
    try {
      linkSync(source, path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || !entry.executable) throw asDployError(error, entry)
      // An executable has an inode of its own, since the mode belongs to the inode.
      const plain = this.#path(entry.digest, false)
      const temporary = this.#temporary()
      try {
        copyFileSync(plain, temporary)
        chmodSync(temporary, 0o555)
        const { mtimeMs } = statSync(plain)
        setTime(temporary, entry.digest, mtimeMs)
        renameSync(temporary, source)
        linkSync(source, path)
      } catch (cause) {
        throw asDployError(cause, entry)
      }
    }
  }

  /** Makes `path` a file of its own with the entry's content: no other path is the same inode. Throws as `link` does. `mode`: by default that of what is linked. */
  copy(entry: FileEntry, path: string, mode = entry.executable ? 0o555 : 0o444): void {
    if (!this.#contents.has(entry.digest) && this.#state(entry) !== 'intact')
      throw new DployError('object.missing', `The object of ${JSON.stringify(entry.path)} is not in the store`)
    const own = this.#path(entry.digest, entry.executable)
    const source = entry.executable && !existsSync(own) ? this.#path(entry.digest, false) : own
    try {
      if (entry.size > keptSize) {
        // The same blocks where the file system can (btrfs, xfs).
        copyFileSync(source, path, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
        chmodSync(path, mode)
        return setTime(path, entry.digest, statSync(source).mtimeMs)
      }
      const { content, mtimeMs } = this.#content(entry, source)
      const file = openSync(path, 'wx', mode)
      try {
        for (let at = 0; at < content.length;) at += writeSync(file, content, at)
        futimesSync(file, new Date(mtimeMs), markedTime(entry.digest, mtimeMs))
      } finally {
        closeSync(file)
      }
    } catch (error) {
      throw asDployError(error, entry)
    }
  }

  /** What is copied to many paths is read once. */
  #content(entry: FileEntry, source: string): { content: Buffer; mtimeMs: number } {
    const known = this.#contents.get(entry.digest)
    if (known) return known
    const content = { content: readFileSync(source), mtimeMs: statSync(source).mtimeMs }
    if (this.#contents.size >= keptContents) this.#contents.clear()
    this.#contents.set(entry.digest, content)
    return content
  }

  /** A tree is made: what it was made of may change again. */
  forget(): void {
    this.#contents.clear()
  }

  /** Reads the entry's objects, and drops those whose content is not theirs. */
  verify(entry: FileEntry): void {
    for (const executable of entry.executable ? [true, false] : [false]) {
      const path = this.#path(entry.digest, executable)
      const content = readIfThere(path)
      if (content !== null && createHash('sha256').update(content).digest('hex') !== entry.digest) unlinkSync(path)
    }
  }

  /** Takes the objects of a pack. An object becomes visible only once all its bytes are there and right. Throws `object.corrupt`, `server.disk_full`. */
  writer(): PackSink & { objects: number; received: ReadonlySet<Digest>; flush(): 'flushed' | 'needs sync' } {
    const store = this
    let current: { object: PackedObject; path: string; file: number; hash: Hash } | null = null
    const received = new Set<Digest>()
    return {
      objects: 0,
      received,
      begin(object) {
        const path = store.#temporary()
        current = { object, path, file: openSync(path, 'wx', 0o444), hash: createHash('sha256') }
      },
      data(chunk) {
        current!.hash.update(chunk)
        try {
          for (let at = 0; at < chunk.length;) at += writeSync(current!.file, chunk, at)
        } catch (error) {
          abandon()
          throw asDployError(error)
        }
      },
      end() {
        const { object, path, file, hash } = current!
        const digest = hash.digest('hex')
        if (digest !== object.digest) {
          abandon()
          throw new DployError(
            'object.corrupt',
            `The object ${object.digest.slice(0, 12)} arrived with the content of ${digest.slice(0, 12)}`,
          )
        }
        futimesSync(file, new Date(object.time), markedTime(digest, object.time))
        if (this.objects < flushSingly) fsyncSync(file)
        closeSync(file)
        mkdirSync(join(store.#directory, digest.slice(0, 2)), { recursive: true })
        renameSync(path, store.#path(digest, false))
        this.objects++
        received.add(digest)
        current = null
      },
      flush() {
        return this.objects <= flushSingly ? 'flushed' : 'needs sync'
      },
    }
    function abandon(): void {
      if (!current) return
      closeSync(current.file)
      rmSync(current.path, { force: true })
      current = null
    }
  }

  /** Removes every object that is not in `keep` (as `key` names them). Answers how many, and their bytes. */
  collect(keep: ReadonlySet<string>): { objects: number; bytes: number } {
    let objects = 0
    let bytes = 0
    for (const prefix of readdirSync(this.#directory)) {
      if (prefix.length !== 2) continue
      for (const name of readdirSync(join(this.#directory, prefix))) {
        if (keep.has(name)) continue
        const path = join(this.#directory, prefix, name)
        const { size, nlink } = lstatSync(path)
        unlinkSync(path)
        objects++
        if (nlink === 1) bytes += size
      }
    }
    return { objects, bytes }
  }

  #state(entry: FileEntry): 'intact' | 'changed' | 'absent' {
    if (entry.executable) {
      const own = this.#check(entry, true)
      if (own === 'intact') return own
      const plain = this.#check(entry, false)
      return plain === 'absent' ? own : plain
    }
    return this.#check(entry, false)
  }

  #check(entry: FileEntry, executable: boolean): 'intact' | 'changed' | 'absent' {
    const path = this.#path(entry.digest, executable)
    const stat = lstatSync(path, { throwIfNoEntry: false })
    if (!stat) return 'absent'
    if (stat.size === entry.size && hasMark(stat.mtimeMs, entry.digest)) return 'intact'
    unlinkSync(path)
    return 'changed'
  }

  #path(digest: Digest, executable: boolean): string {
    return `${this.#directory}/${digest.slice(0, 2)}/${digest}${executable ? '.x' : ''}`
  }

  #temporary(): string {
    return join(this.#directory, 'new', unfinishedName(randomBytes(8).toString('hex')))
  }
}

/** The name under which the store holds an entry's object. */
export function objectKey(entry: FileEntry): string {
  return entry.executable ? `${entry.digest}.x` : entry.digest
}

/** Whether a file's modification time still carries the mark of the digest. Milliseconds, as lstat gives them. */
export function hasMark(mtimeMs: number, digest: Digest): boolean {
  const fraction = mtimeMs / 1000 - Math.floor(mtimeMs / 1000)
  return Math.round(fraction * 65_536) === markOf(digest)
}

/** 1 to 65535: a whole second, which tools like to set, is never a mark. */
function markOf(digest: Digest): number {
  return (Number.parseInt(digest.slice(0, 8), 16) % 65_535) + 1
}

/** Seconds; multiples of 2^-16 are exact in a double, so that lstat gives back what utimes was given. */
function markedTime(digest: Digest, timeMs: number): number {
  return Math.floor(timeMs / 1000) + markOf(digest) / 65_536
}

function setTime(path: string, digest: Digest, timeMs: number): void {
  utimesSync(path, new Date(timeMs), markedTime(digest, timeMs))
}

function readIfThere(path: string): Buffer | null {
  try {
    return readFileSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

function asDployError(error: unknown, entry?: FileEntry): unknown {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new DployError('server.disk_full', 'The disk is full', { cause: error })
  if (code === 'ENOENT' && entry)
    return new DployError('object.missing', `The object of ${JSON.stringify(entry.path)} is not in the store`, {
      cause: error,
    })
  return error
}
