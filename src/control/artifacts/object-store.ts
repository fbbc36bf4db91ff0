import { execFile, execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { promisify } from 'node:util'
import { DployError } from '../../protocol/errors.ts'
import type { Digest } from '../../protocol/manifest.ts'
import type { PackedObject, PackSink } from '../../protocol/pack.ts'
import { scratchDirectory, scratchName } from './scratch.ts'

/** How much of a file is read at once. Bytes. */
const chunkBytes = 256 * 1024
/** From so many zeros in one piece on, a hole is left in the file. Bytes. */
const leastHole = 64 * 1024
const zeros = Buffer.alloc(1024 * 1024)
/** Up to so many new objects are flushed one by one. */
const flushSingly = 64

/** The control plane's objects, each once, by digest. An object's modification time says when it was first seen. */
export class ObjectStore {
  readonly directory: string
  #unflushed = 0

  constructor(directory: string) {
    this.directory = directory
    scratchDirectory(join(directory, 'new'))
  }

  has(digest: Digest, size?: number): boolean {
    const stat = lstatSync(this.path(digest), { throwIfNoEntry: false })
    return stat !== undefined && (size === undefined || stat.size === size)
  }

  /** Size in bytes and epoch milliseconds of its first sight. Throws `object.missing`. */
  stat(digest: Digest): { size: number; time: number } {
    const stat = statSync(this.path(digest), { throwIfNoEntry: false })
    if (!stat)
      throw new DployError(
        'object.missing',
        `The object ${digest.slice(0, 12)} is not in the store of the control plane`,
      )
    return { size: stat.size, time: Math.floor(stat.mtimeMs) }
  }

  path(digest: Digest): string {
    return join(this.directory, digest.slice(0, 2), digest)
  }

  /** Begins an object whose digest is not known yet. `done` answers it; `abandon` does nothing after that. */
  begin(): { write(chunk: Uint8Array): void; done(): { digest: Digest; size: number }; abandon(): void } {
    const path = join(this.directory, 'new', scratchName())
    const file = openSync(path, 'wx', 0o600)
    const hash = createHash('sha256')
    let size = 0
    let endsInHole = false
    let open = true
    const close = () => {
      if (open) closeSync(file)
      open = false
    }
    return {
      write: (chunk) => {
        hash.update(chunk)
        // Nothing but zeros: a hole takes no room on the disk, and no time.
        const hole =
          chunk.length >= leastHole &&
          chunk.length <= zeros.length &&
          zeros.compare(chunk, 0, chunk.length, 0, chunk.length) === 0
        endsInHole = hole
        for (let at = 0; !hole && at < chunk.length;) at += writeSync(file, chunk, at, chunk.length - at, size + at)
        size += chunk.length
      },
      done: () => {
        const digest = hash.digest('hex')
        if (this.has(digest, size)) {
          close()
          unlinkSync(path)
          return { digest, size }
        }
        if (endsInHole) ftruncateSync(file, size)
        if (this.#unflushed++ < flushSingly) fsyncSync(file)
        close()
        mkdirSync(join(this.directory, digest.slice(0, 2)), { recursive: true })
        renameSync(path, this.path(digest))
        return { digest, size }
      },
      abandon: () => {
        if (!open) return
        close()
        rmSync(path, { force: true })
      },
    }
  }

  /** Takes the objects of a pack, each verified before it counts. `abandon` forgets one that is not whole. Throws `object.corrupt`. */
  writer(): PackSink & { objects: number; abandon(): void } {
    let current: { object: PackedObject; into: ReturnType<ObjectStore['begin']> } | null = null
    const store = this
    return {
      objects: 0,
      begin(object) {
        current = { object, into: store.begin() }
      },
      data: (chunk) => current!.into.write(chunk),
      end() {
        const { object, into } = current!
        const { digest } = into.done()
        if (digest !== object.digest)
          throw new DployError(
            'object.corrupt',
            `The object ${object.digest.slice(0, 12)} arrived with the content of ${digest.slice(0, 12)}`,
          )
        this.objects++
        current = null
      },
      abandon() {
        current?.into.abandon()
        current = null
      },
    }
  }

  /** Resolves when every object that was taken is on disk: many are cheaper to flush with the whole file system. */
  async flush(): Promise<void> {
    if (this.#takeUnflushed()) await promisify(execFile)('sync', ['-f', this.directory])
  }

  /** As `flush`, for workers. */
  flushSync(): void {
    if (this.#takeUnflushed()) execFileSync('sync', ['-f', this.directory])
  }

  #takeUnflushed(): boolean {
    const many = this.#unflushed > flushSingly
    this.#unflushed = 0
    return many
  }

  /** An object's bytes, a piece at a time; verified when the last was read. Throws `object.corrupt`, and forgets the object then. */
  *verified(digest: Digest): Generator<Buffer> {
    const hash = createHash('sha256')
    for (const chunk of this.read(digest)) {
      hash.update(chunk)
      yield chunk
    }
    if (hash.digest('hex') === digest) return
    rmSync(this.path(digest), { force: true })
    throw new DployError(
      'object.corrupt',
      `The object ${digest.slice(0, 12)} in the store of the control plane is damaged, and was removed`,
      { where: this.path(digest), fix: 'Deploy again: it is read anew; if it comes back, check the disk' },
    )
  }

  /** An object's bytes, a piece at a time. */
  *read(digest: Digest): Generator<Buffer> {
    const file = openSync(this.path(digest), 'r')
    try {
      for (;;) {
        const buffer = Buffer.allocUnsafe(chunkBytes)
        const length = readSync(file, buffer)
        if (length === 0) return
        yield length === chunkBytes ? buffer : buffer.subarray(0, length)
      }
    } finally {
      closeSync(file)
    }
  }

  /**
   * Removes what is not in `keep` and is older than `olderThan` (epoch milliseconds), a folder at a time, for as long as
   * `goOn` says so. Answers how many, and their bytes.
   */
  async collect(
    keep: ReadonlySet<Digest>,
    olderThan: number,
    goOn: () => boolean,
  ): Promise<{ objects: number; bytes: number }> {
    const removed = { objects: 0, bytes: 0 }
    for (const prefix of readdirSync(this.directory)) {
      if (prefix.length !== 2) continue
      // Others have their turn in between.
      await setImmediate()
      if (!goOn()) break
      for (const name of readdirSync(join(this.directory, prefix))) {
        if (keep.has(name)) continue
        const { size, time } = this.stat(name)
        if (time > olderThan) continue
        unlinkSync(this.path(name))
        removed.objects++
        removed.bytes += size
      }
    }
    return removed
  }
}
