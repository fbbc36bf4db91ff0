import { zstdDecompressSync } from 'node:zlib'
import type { Span } from '../protocol/agent-messages.ts'
import { DployError } from '../protocol/errors.ts'
import { applyDelta, decodeDelta, diffManifests, type Digest, type Entry, type Manifest } from '../protocol/manifest.ts'
import type { PackSink } from '../protocol/pack.ts'
import type { ReleaseSpec } from '../protocol/release-spec.ts'
import type { ApplicationDirectory } from './application-directory.ts'

/** Left free on the disk whatever is staged. Bytes. */
const reserve = 16 * 1024 * 1024
/** A delta that unpacks to more than this is not one. Bytes. */
const maxDelta = 256 * 1024 * 1024

export interface StageOptions {
  directory: ApplicationDirectory
  spec: ReleaseSpec
  /** The artifact that `delta` starts from. */
  from: Digest | null
  /** zstd of the text of a manifest delta. */
  delta: Uint8Array
  /** Asks the control plane for objects, by digest with their sizes in bytes. */
  fetchObjects(wanted: ReadonlyMap<Digest, number>, sink: PackSink, signal: AbortSignal): Promise<{ bytes: number }>
  fetchManifest(digest: Digest, signal: AbortSignal): Promise<Manifest>
  signal: AbortSignal
  /** What stands beside the files of a release that is here stays: its service may run. */
  keepOthers?: boolean
}

export interface Staged {
  already: boolean
  objects: number
  bytes: number
  repaired: number
  /** Paths of a release that was here which were not as shipped any more; they are again. */
  changed: string[]
  spans: Span[]
}

/** Brings a release into its directory: manifest, missing objects, tree. Staging what is here only checks it. */
export async function stageRelease(options: StageOptions): Promise<Staged> {
  const { directory, spec, signal } = options
  const began = performance.now()
  const spans: Span[] = []
  const span = (name: string, start: number) =>
    spans.push({ name, start: start - began, end: performance.now() - began })

  const manifest = await manifestOf(options)
  const here = directory.spec(spec.number)?.artifact === spec.artifact && directory.numbers().includes(spec.number)
  const writer = directory.store.writer()
  const changed = new Set<string>()
  const total = { objects: 0, bytes: 0, repaired: 0 }
  const bring = async (entries: readonly Entry[]) => {
    const { wanted, repaired } = directory.store.missing(entries)
    total.repaired += repaired
    if (wanted.size === 0) return
    const start = performance.now()
    checkSpace(
      directory,
      wanted.values().reduce((sum, size) => sum + size, 0),
    )
    total.bytes += (await options.fetchObjects(wanted, writer, signal)).bytes
    total.objects += wanted.size
    const still = [...wanted.keys()].filter((digest) => !writer.received.has(digest))
    if (still.length > 0)
      throw new DployError(
        'object.missing',
        `The control plane did not send ${still.length} objects, for example ${still[0]!.slice(0, 12)}`,
      )
    span('fetch', start)
  }
  const unpack = async () => {
    signal.throwIfAborted()
    const start = performance.now()
    directory.saveManifest(manifest)
    if (here) directory.check(spec, manifest, changed, options.keepOthers ?? false)
    else await directory.place(spec, manifest, writer.flush() === 'needs sync')
    span('unpack', start)
  }
  // What a tree that is here has already, unpacking looks at file by file. What it finds changed is asked for then.
  const base = here ? manifest : directory.spareManifest()
  await bring(base === null ? manifest.entries : diffManifests(base, manifest).changed)
  try {
    await unpack()
  } catch (error) {
    if (!(error instanceof DployError) || error.code !== 'object.missing') throw error
    await bring(manifest.entries)
    await unpack()
  }
  return { already: here && total.objects === 0, ...total, changed: [...changed], spans }
}

async function manifestOf(options: StageOptions): Promise<Manifest> {
  const { directory, spec, from, signal } = options
  const known = directory.manifest(spec.artifact)
  if (known) return known
  const base = from === null ? null : directory.manifest(from)
  if (from === null || base !== null) {
    const delta = zstdDecompressSync(options.delta, { maxOutputLength: maxDelta }).toString('utf8')
    const manifest = applyDelta(base, decodeDelta(delta))
    if (manifest.digest === spec.artifact) return manifest
  }
  const manifest = await options.fetchManifest(spec.artifact, signal)
  if (manifest.digest !== spec.artifact)
    throw new DployError('object.corrupt', 'The manifest that came is not that of the release')
  return manifest
}

function checkSpace(directory: ApplicationDirectory, needed: number): void {
  const free = directory.freeBytes()
  if (free >= needed + reserve) return
  const mb = (bytes: number) => `${(bytes / 1_000_000).toFixed(1)} MB`
  throw new DployError(
    'server.disk_full',
    `The release needs ${mb(needed + reserve)} below ${directory.path}, and ${mb(free)} are free`,
  )
}
