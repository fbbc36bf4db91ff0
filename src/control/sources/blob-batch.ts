import { DployError } from '../../protocol/errors.ts'
import { git, GitError } from './git.ts'

/** Where one blob goes. `write` until all of it came, then `done`; or `abandon`. */
export interface BlobSink {
  write(chunk: Buffer): void
  done(): void
  abandon(): void
}

/**
 * Reads blobs out of a repository, all with one `git cat-file --batch`, in bounded memory. `begin` is told the id and the
 * size in bytes of each, in the order asked; what it or a sink throws ends the reading. Throws `source.unreachable` when
 * one is missing or damaged; `nameOf` tells its path.
 */
export async function readBatch(
  mirror: string,
  oids: readonly string[],
  begin: (oid: string, size: number) => BlobSink,
  nameOf: (oid: string) => string,
  signal: AbortSignal,
): Promise<void> {
  if (oids.length === 0) return
  const stop = new AbortController()
  const reader = new BatchReader(begin, nameOf)
  try {
    await git(['cat-file', '--batch', '--buffer'], {
      cwd: mirror,
      signal: AbortSignal.any([signal, stop.signal]),
      input: `${oids.join('\n')}\n`,
      onData: (chunk) => {
        reader.push(chunk)
        if (reader.problem !== null) stop.abort(reader.problem)
      },
    })
  } catch (error) {
    if (error instanceof GitError) throw damaged(reader.current === null ? 'a file' : nameOf(reader.current), error)
    throw error
  } finally {
    reader.abandon()
  }
}

/** Cuts the output of `cat-file --batch` (`<oid> <type> <size> LF <contents> LF`) into objects. */
class BatchReader {
  problem: unknown = null
  readonly #begin: (oid: string, size: number) => BlobSink
  readonly #nameOf: (oid: string) => string
  #header = Buffer.alloc(0)
  #current: { oid: string; left: number; sink: BlobSink } | null = null

  constructor(begin: (oid: string, size: number) => BlobSink, nameOf: (oid: string) => string) {
    this.#begin = begin
    this.#nameOf = nameOf
  }

  get current(): string | null {
    return this.#current?.oid ?? null
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
    this.#current?.sink.abandon()
    this.#current = null
  }

  #readHeader(chunk: Buffer): Buffer {
    const end = chunk.indexOf(10)
    this.#header = Buffer.concat([this.#header, end < 0 ? chunk : chunk.subarray(0, end)])
    if (end < 0) return chunk.subarray(chunk.length)
    const [oid, type, size] = this.#header.toString('latin1').split(' ')
    this.#header = Buffer.alloc(0)
    if (type !== 'blob') throw damaged(this.#nameOf(oid!))
    this.#current = { oid: oid!, left: Number(size) + 1, sink: this.#begin(oid!, Number(size)) }
    return chunk.subarray(end + 1)
  }

  #content(chunk: Buffer): Buffer {
    const current = this.#current!
    const part = chunk.subarray(0, current.left)
    current.left -= part.length
    // The last byte is the line feed that ends the record.
    current.sink.write(current.left === 0 ? part.subarray(0, part.length - 1) : part)
    if (current.left === 0) {
      current.sink.done()
      this.#current = null
    }
    return chunk.subarray(part.length)
  }
}

function damaged(name: string, cause?: Error): DployError {
  return new DployError('source.unreachable', `The mirror lacks the content of ${name}`, {
    where: name,
    fix: 'Remove the mirror below .dploy/mirrors, then deploy again',
    cause,
  })
}
