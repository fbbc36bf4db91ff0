import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream, openSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { constants, createZstdCompress, zstdCompressSync } from 'node:zlib'
import { diffManifests, encodeDelta, type Digest, type Manifest } from '../../protocol/manifest.ts'
import { packHeader } from '../../protocol/pack.ts'
import type { ObjectStore } from './object-store.ts'
import { scratchDirectory, scratchName } from './scratch.ts'

/** Objects of up to so many bytes together are packed in memory, more in a file. */
const inMemory = 8 * 1024 * 1024
/** Kept packs, in memory and as files, together. Bytes. */
const keepMemory = 64 * 1024 * 1024
const keepFiles = 1024 * 1024 * 1024
/** A frame's body. Bytes. */
const chunkBytes = 256 * 1024

type Pack = { bytes: Buffer; size: number } | { file: string; size: number }

/**
 * What is sent to servers, compressed once: however many servers lack the same objects, or stand at the same release,
 * one computation serves all of them.
 */
export class PackCache {
  readonly #store: ObjectStore
  readonly #directory: string
  /** The one used least lately stands first, as in all maps here. */
  readonly #packs = new Map<string, Promise<Pack>>()
  /** Those of them that are computed. */
  readonly #ready = new Map<Promise<Pack>, Pack>()
  readonly #deltas = new Map<string, Promise<Buffer>>()
  /** How many packs were computed: what tests and the receipt's curious look at. */
  computed = 0

  constructor(store: ObjectStore, directory: string) {
    this.#store = store
    this.#directory = scratchDirectory(directory)
  }

  /** The chunks of one zstd stream: a pack of these objects, each verified. Throws `object.missing`, `object.corrupt`. */
  async *pack(digests: readonly Digest[], signal: AbortSignal): AsyncGenerator<Buffer> {
    const pack = await this.#once(
      this.#packs,
      createHash('sha256')
        .update([...digests].sort().join(''))
        .digest('hex'),
      () => this.#keep(this.#compute(digests)),
    )
    if ('bytes' in pack) {
      for (let start = 0; start < pack.bytes.length; start += chunkBytes)
        yield pack.bytes.subarray(start, start + chunkBytes)
      return
    }
    // Opened at once: making room for another pack may remove its name.
    for await (const chunk of createReadStream('', { fd: openSync(pack.file, 'r'), highWaterMark: chunkBytes, signal }))
      yield chunk as Buffer
  }

  /** What turns one manifest into another, compressed with zstd. */
  delta(from: Manifest | null, to: Manifest): Promise<Buffer> {
    return this.#once(this.#deltas, `${from?.digest ?? ''}:${to.digest}`, async () => {
      if (this.#deltas.size > 64) this.#deltas.delete(this.#deltas.keys().next().value!)
      return zstdCompressSync(encodeDelta(diffManifests(from, to)))
    })
  }

  /** Forgets all packs and removes their files. */
  clear(): void {
    this.#packs.clear()
    this.#makeRoom()
  }

  #once<T>(cache: Map<string, Promise<T>>, key: string, compute: () => Promise<T>): Promise<T> {
    const known = cache.get(key)
    if (known) {
      cache.delete(key)
      cache.set(key, known)
      return known
    }
    const value = compute()
    cache.set(key, value)
    value.catch(() => cache.get(key) === value && cache.delete(key))
    return value
  }

  #keep(computing: Promise<Pack>): Promise<Pack> {
    const kept = computing.then((pack) => {
      this.#ready.set(kept, pack)
      this.#makeRoom()
      return pack
    })
    return kept
  }

  async #compute(digests: readonly Digest[]): Promise<Pack> {
    this.computed++
    const objects = digests.map((digest) => ({ digest, ...this.#store.stat(digest) }))
    const total = objects.reduce((sum, { size }) => sum + size, 0)
    const store = this.#store
    function* content() {
      for (const object of objects) {
        yield packHeader(object)
        yield* store.verified(object.digest)
      }
    }
    const level = total < 1024 * 1024 ? 9 : 3
    const compress = createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: level } })
    if (total <= inMemory) {
      const chunks: Buffer[] = []
      await pipeline(Readable.from(content()), compress, async (source: AsyncIterable<Buffer>) => {
        for await (const chunk of source) chunks.push(chunk)
      })
      const bytes = Buffer.concat(chunks)
      return { bytes, size: bytes.length }
    }
    const file = join(this.#directory, scratchName())
    const output = createWriteStream(file, { mode: 0o600 })
    try {
      await pipeline(Readable.from(content()), compress, output)
    } catch (error) {
      rmSync(file, { force: true })
      throw error
    }
    return { file, size: output.bytesWritten }
  }

  /** Drops what was forgotten, and the packs used least lately until the rest fits. A file that is still read lives on until its end. */
  #makeRoom(): void {
    let memory = 0
    let files = 0
    const keep = new Set<Promise<Pack>>()
    for (const [key, value] of [...this.#packs].reverse()) {
      const pack = this.#ready.get(value)
      if (!pack) continue
      const fits = 'bytes' in pack ? (memory += pack.size) <= keepMemory : (files += pack.size) <= keepFiles
      // Somebody waits for the one that was asked for last, however large it is.
      if (fits || keep.size === 0) keep.add(value)
      else this.#packs.delete(key)
    }
    for (const [value, pack] of this.#ready) {
      if (keep.has(value)) continue
      this.#ready.delete(value)
      if ('file' in pack) rmSync(pack.file, { force: true })
    }
  }
}
