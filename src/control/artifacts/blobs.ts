import { DployError } from '../../protocol/errors.ts'
import type { Digest } from '../../protocol/manifest.ts'
import { readBatch, type BlobSink } from '../sources/blob-batch.ts'
import type { TreeItem } from '../sources/revision-tree.ts'
import type { ObjectStore } from './object-store.ts'

/** A git-lfs pointer begins with this, and is smaller than that (git-lfs, docs/spec.md). */
const lfsPointer = Buffer.from('version https://git-lfs.github.com/spec/')
const lfsPointerBytes = 1_024

/**
 * Reads blobs out of a repository into the store. Answers the digest of each. `nameOf` tells a blob's path for errors.
 * Throws `source.unsupported` for git-lfs pointers, and as `readBatch`.
 */
export async function readBlobs(
  mirror: string,
  oids: readonly string[],
  store: ObjectStore,
  nameOf: (oid: string) => string,
  signal: AbortSignal,
): Promise<Map<string, Digest>> {
  const digests = new Map<string, Digest>()
  const begin = (oid: string, size: number): BlobSink => {
    const into = store.begin()
    const pointer = pointerCheck(size, nameOf(oid))
    return {
      write(chunk) {
        into.write(chunk)
        pointer.write(chunk)
      },
      done() {
        pointer.done()
        digests.set(oid, into.done().digest)
      },
      abandon: () => into.abandon(),
    }
  }
  await readBatch(mirror, oids, begin, nameOf, signal)
  return digests
}

/** Throws `source.unsupported` when one of these files is a git-lfs pointer. */
export async function refusePointers(mirror: string, items: readonly TreeItem[], signal: AbortSignal): Promise<void> {
  const names = new Map(
    items
      .filter(({ kind, size }) => kind === 'file' && size >= lfsPointer.length && size < lfsPointerBytes)
      .map(({ oid, path }) => [oid, path]),
  )
  const nameOf = (oid: string) => names.get(oid) ?? oid
  await readBatch(mirror, [...names.keys()], (oid, size) => pointerCheck(size, nameOf(oid)), nameOf, signal)
}

/** Looks at the beginning of a blob. `done` throws `source.unsupported` when that is a git-lfs pointer's. */
function pointerCheck(size: number, name: string): BlobSink {
  let begin = Buffer.alloc(0)
  return {
    write(chunk) {
      if (begin.length < lfsPointer.length)
        begin = Buffer.concat([begin, chunk.subarray(0, lfsPointer.length - begin.length)])
    },
    done() {
      if (size >= lfsPointerBytes || !begin.equals(lfsPointer)) return
      throw new DployError(
        'source.unsupported',
        `${JSON.stringify(name)} is a git-lfs pointer, not the file itself; dploy does not fetch from git-lfs`,
        {
          where: name,
          fix: 'Fetch it in the build command (git lfs pull in CI) and deploy with --directory, take the file out of git-lfs, or leave it out: build.leave_out',
        },
      )
    },
    abandon() {},
  }
}
