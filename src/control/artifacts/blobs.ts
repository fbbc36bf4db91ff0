import { DployError } from '../../protocol/errors.ts'
import type { Digest } from '../../protocol/manifest.ts'
import { git } from '../sources/git.ts'
import type { ObjectStore } from './object-store.ts'

/** A git-lfs pointer begins with this (git-lfs, docs/spec.md). */
const lfsPointer = Buffer.from('version https://git-lfs.github.com/spec/')

/**
 * Reads blobs out of a repository into the store, all with one `git cat-file --batch`, in bounded memory. Answers the
 * digest of each. `nameOf` tells a blob's path for errors. Throws `source.unsupported` for git-lfs pointers.
 */
export async function readBlobs(mirror: string, oids: readonly string[], store: ObjectStore, nameOf: (oid: string) => string, signal: AbortSignal): Promise<Map<string, Digest>> {
  const digests = new Map<string, Digest>()
  if (oids.length === 0) return digests
  const reader = new BatchReader(store, digests, nameOf)
  try {
    await git(['cat-file', '--batch', '--buffer'], { cwd: mirror, signal, input: `${oids.join('\n')}\n`, onData: (chunk) => reader.push(chunk) })
  } finally {
    reader.abandon()
  }
  if (reader.problem) throw reader.problem
  return digests
}

/** Cuts the output of `cat-file --batch` (`<oid> <type> <size> LF <contents> LF`) into objects. */
class BatchReader {
  problem: unknown = null
  readonly #store: ObjectStore
  readonly #digests: Map<string, Digest>
  readonly #nameOf: (oid: string) => string
  #header = Buffer.alloc(0)
  #current: { oid: string; left: number; begin: Buffer; size: number; into: ReturnType<ObjectStore['begin']> } | null = null

  constructor(store: ObjectStore, digests: Map<string, Digest>, nameOf: (oid: string) => string) {
    this.#store = store
    this.#digests = digests
    this.#nameOf = nameOf
  }

  push(chunk: Buffer): void {
    if (this.problem !== null) return
    try {
      let rest = chunk
      while (rest.length > 0) rest = this.#current ? this.#content(rest) : this.#readHeader(rest)
    } catch (error) {
      this.problem = error
    }
  }

  abandon(): void {
    this.#current?.into.abandon()
    this.#current = null
  }

  #readHeader(chunk: Buffer): Buffer {
    const end = chunk.indexOf(10)
    this.#header = Buffer.concat([this.#header, end < 0 ? chunk : chunk.subarray(0, end)])
    if (end < 0) return chunk.subarray(chunk.length)
    const [oid, type, size] = this.#header.toString('latin1').split(' ')
    this.#header = Buffer.alloc(0)
    if (type !== 'blob') throw new DployError('source.unreachable', `The mirror lacks the content of ${this.#nameOf(oid!)}`, { where: oid, fix: 'Remove the mirror below .dploy/mirrors, then deploy again' })
    this.#current = { oid: oid!, left: Number(size) + 1, begin: Buffer.alloc(0), size: Number(size), into: this.#store.begin() }
    return chunk.subarray(end + 1)
  }

  #content(chunk: Buffer): Buffer {
    const current = this.#current!
    const part = chunk.subarray(0, current.left)
    current.left -= part.length
    // The last byte is the line feed that ends the record.
    const content = current.left === 0 ? part.subarray(0, part.length - 1) : part
    if (current.begin.length < lfsPointer.length) current.begin = Buffer.concat([current.begin, content.subarray(0, lfsPointer.length - current.begin.length)])
    current.into.write(content)
    if (current.left === 0) {
      if (current.size < 1_024 && current.begin.equals(lfsPointer)) {
        throw new DployError('source.unsupported', `${JSON.stringify(this.#nameOf(current.oid))} is a git-lfs pointer, not the file itself; dploy does not fetch from git-lfs`, { where: this.#nameOf(current.oid), fix: 'Fetch it in the build command (git lfs pull in CI) and deploy with --directory, or take the file out of git-lfs' })
      }
      this.#digests.set(current.oid, current.into.done().digest)
      this.#current = null
    }
    return chunk.subarray(part.length)
  }
}
