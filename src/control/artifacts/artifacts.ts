import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, extname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setImmediate } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { createZstdDecompress, zstdCompressSync } from 'node:zlib'
import type { BuildConfig, Config } from '../../protocol/config/config.ts'
import { DployError, type ErrorReport } from '../../protocol/errors.ts'
import {
  applyDelta,
  digestPattern,
  makeManifest,
  objectsOf,
  type Digest,
  type Entry,
  type Manifest,
} from '../../protocol/manifest.ts'
import { PackReader } from '../../protocol/pack.ts'
import type { Revision } from '../../protocol/release-spec.ts'
import type { ArtifactSource } from '../deploy/run/run.ts'
import { GitMirror } from '../sources/git-mirror.ts'
import { filesBetween, namesOf, type Files, type Named } from '../sources/history.ts'
import { linkTargets } from '../sources/link-targets.ts'
import { treeChanges, treeItems, treeOf, type TreeItem } from '../sources/revision-tree.ts'
import { SharedWork } from '../sources/shared-work.ts'
import { BlobIndex } from './blob-index.ts'
import { readBlobs } from './blobs.ts'
import { buildTree } from './build.ts'
import { LastTree } from './last-tree.ts'
import { Manifests } from './manifests.ts'
import { ObjectStore } from './object-store.ts'
import { PackCache } from './pack-cache.ts'
import type { Scanned, ScanOptions } from './scan.ts'
import { selection, type Selection } from './selection.ts'

/** Results of so many builds, asked for within so long, are kept for being asked for again. Milliseconds. */
const keepBuilds = 20
const keepBuildsFor = 30 * 24 * 3_600_000
/** What is needed by nothing is kept this long: it may have been uploaded for a deployment that is not asked for yet. Milliseconds. */
const keepUnused = 24 * 3_600_000

/** How many commits between two are listed. */
const maxCommits = 50

/** More than this is not compressed to know its size. Bytes. */
const exactUpTo = 8 * 1024 * 1024

export interface Collected {
  manifests: number
  objects: number
  bytes: number
}

export interface Built {
  artifact: Digest
  /** Nothing had to be built. */
  cached: boolean
  /** How many files were read to make the manifest; the others were known. */
  read: number
}

type OnOutput = (stream: 'stdout' | 'stderr', text: string) => void

/** A build that runs, and who is told what it prints. */
interface Building {
  work: SharedWork<Built>
  listeners: Set<OnOutput>
}

/** Sources, artifacts and what is sent of them: everything of it below one data directory. */
export class Artifacts implements ArtifactSource, Disposable {
  readonly #data: string
  readonly #mirrors = new Map<string, GitMirror>()
  readonly #blobs: BlobIndex
  readonly #building = new Map<string, Building>()
  /** What is made or uploaded now, and how much ever was: while anything is, nothing is collected. */
  readonly #activity = { now: 0, ever: 0 }
  readonly store: ObjectStore
  readonly manifests: Manifests
  readonly packs: PackCache

  constructor(data: string) {
    this.#data = data
    mkdirSync(join(data, 'artifacts'), { recursive: true, mode: 0o700 })
    this.store = new ObjectStore(join(data, 'objects'))
    this.manifests = new Manifests(join(data, 'manifests'))
    this.packs = new PackCache(this.store, join(data, 'packs'))
    this.#blobs = new BlobIndex(join(data, 'blobs.db'))
  }

  resolve(
    config: Config,
    base: string | null,
    ref: string | null,
    branch: string | null,
    signal: AbortSignal,
  ): Promise<Revision> {
    return this.#mirror(config, base).resolve(ref, branch, signal)
  }

  async history(
    config: Config,
    base: string | null,
    wanted: { branch: string | null; search: string; limit: number },
    signal: AbortSignal,
  ): Promise<{ commits: Revision[]; branches: Named[]; tags: Named[] }> {
    const mirror = this.#mirror(config, base)
    const head = await mirror.resolve(null, wanted.branch, signal)
    const [commits, branches, tags] = await Promise.all([
      mirror.search(wanted.search, head.commit!, wanted.limit, signal),
      namesOf(mirror.path, 'heads', signal),
      namesOf(mirror.path, 'tags', signal),
    ])
    return { commits, branches, tags }
  }

  files(config: Config, base: string | null, from: string, to: string, signal: AbortSignal): Promise<Files> {
    return filesBetween(this.#mirror(config, base).path, from, to, config.source.subfolder, signal)
  }

  between(config: Config, base: string | null, from: string, to: string): Promise<Revision[]> {
    return this.#mirror(config, base)
      .between(from, to, maxCommits, AbortSignal.timeout(10_000))
      .catch(() => [])
  }

  /**
   * Builds the artifact of a revision, once for the same tree and build definition, also when asked for twice at a time: it
   * ends early when nobody waits for it any more. Throws as `treeOf`, `treeItems`, `readBlobs` and `buildTree` do.
   */
  async build(
    config: Config,
    base: string | null,
    revision: Revision,
    options: { signal: AbortSignal; onOutput: OnOutput },
  ): Promise<Built> {
    const { commit } = revision
    if (commit === null) throw new DployError('internal', 'A revision without a commit is not built')
    const { build, source } = config
    const mirror = this.#mirror(config, base)
    const tree =
      (source.subfolder === undefined ? mirror.treeOf(commit) : undefined) ??
      (await treeOf(mirror.path, commit, source.subfolder, options.signal))
    const key = keyOf(tree, config)
    using _ = this.#active()
    const known = this.#built(key)
    if (known !== null) return { artifact: known, cached: true, read: 0 }
    let building = this.#building.get(key)
    if (!building || building.work.abandoned) {
      const listeners = new Set<OnOutput>()
      const onOutput: OnOutput = (stream, text) => listeners.forEach((listener) => listener(stream, text))
      const make = async (signal: AbortSignal) => {
        using _ = this.#active()
        const built = await (build.command === undefined
          ? this.#fromTree(mirror, tree, config, signal)
          : this.#fromBuild(mirror, tree, config, commit, { signal, onOutput }))
        this.#remember(key, built.artifact)
        return built
      }
      const begun: Building = { work: new SharedWork(make), listeners }
      this.#building.set(key, begun)
      void begun.work.ended.then(() => this.#building.get(key) === begun && this.#building.delete(key))
      building = begun
    }
    building.listeners.add(options.onOutput)
    try {
      return await building.work.join(options.signal)
    } finally {
      building.listeners.delete(options.onOutput)
    }
  }

  objects(artifact: Digest): ReadonlyMap<Digest, number> | null {
    const manifest = this.#sound(artifact)
    return manifest && objectsOf(manifest)
  }

  async known(config: Config, base: string | null, { commit }: Revision, signal: AbortSignal): Promise<Digest | null> {
    if (commit === null) return null
    return this.#built(
      keyOf(await treeOf(this.#mirror(config, base).path, commit, config.source.subfolder, signal), config),
    )
  }

  /** Exact where it is not much: what is packed for that is what servers are sent later. */
  async transfer(
    from: Digest | null,
    to: Digest,
    signal: AbortSignal,
  ): Promise<{ objects: number; bytes: number; exact: boolean } | null> {
    const [before, after] = [from === null ? null : this.#sound(from), this.#sound(to)]
    if (after === null || (from !== null && before === null)) return null
    const there: ReadonlyMap<Digest, number> = before === null ? new Map() : objectsOf(before)
    const missing = [...objectsOf(after)].filter(([digest]) => !there.has(digest))
    const whole = missing.reduce((sum, [, size]) => sum + size, 0)
    if (whole > exactUpTo || missing.some(([digest, size]) => !this.store.has(digest, size)))
      return { objects: missing.length, bytes: whole, exact: false }
    let bytes = (await this.packs.delta(before, after)).length
    if (missing.length > 0)
      for await (const chunk of this.packs.pack(
        missing.map(([digest]) => digest),
        signal,
      ))
        bytes += chunk.length
    return { objects: missing.length, bytes, exact: true }
  }

  async has(artifact: Digest): Promise<boolean> {
    if (!this.manifests.has(artifact)) return false
    return [...objectsOf(this.manifests.get(artifact))].every(([digest, size]) => this.store.has(digest, size))
  }

  async delta(from: Digest | null, to: Digest): Promise<Uint8Array> {
    // A manifest that is gone from here cannot be a base; the agent then asks for the whole.
    const base = from !== null && this.manifests.has(from) ? this.manifests.get(from) : null
    return this.packs.delta(base, this.manifests.get(to))
  }

  /** Chunks of a pack of some of an artifact's objects. Throws `object.missing` for one that is not the artifact's. */
  async *pack(artifact: Digest, digests: string[], signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const own = objectsOf(this.manifests.get(artifact))
    const foreign = digests.find((digest) => !own.has(digest))
    if (foreign !== undefined)
      throw new DployError('object.missing', `The object ${foreign.slice(0, 12)} does not belong to this release`)
    yield* this.packs.pack(digests, signal)
  }

  /** A manifest's canonical text, compressed with zstd. */
  async manifest(artifact: Digest): Promise<Uint8Array> {
    return zstdCompressSync(this.manifests.text(artifact))
  }

  async offer(manifest: Manifest): Promise<Digest[]> {
    using _ = this.#active()
    const missing = [...objectsOf(manifest)]
      .filter(([digest, size]) => !this.store.has(digest, size))
      .map(([digest]) => digest)
    if (missing.length === 0) this.manifests.save(manifest)
    return missing
  }

  async receive(pack: AsyncIterable<Uint8Array>): Promise<number> {
    using _ = this.#active()
    const writer = this.store.writer()
    const reader = new PackReader(writer)
    try {
      await pipeline(pack, createZstdDecompress(), async (source: AsyncIterable<Buffer>) => {
        for await (const chunk of source) reader.push(chunk)
      })
      reader.finish()
    } catch (error) {
      writer.abandon()
      if (error instanceof DployError) throw error
      throw new DployError('protocol.invalid', `The upload cannot be read: ${(error as Error).message}`, {
        cause: error,
      })
    }
    await this.store.flush()
    return writer.objects
  }

  /** Makes an artifact of a directory, without git. */
  async fromDirectory(
    directory: string,
    build: Pick<BuildConfig, 'ship' | 'leave_out'>,
    signal: AbortSignal,
  ): Promise<Built> {
    using _ = this.#active()
    const cache = join(
      this.#data,
      'artifacts',
      `directory-${createHash('sha256').update(directory).digest('hex').slice(0, 16)}.json`,
    )
    const { entries, read } = await this.#scan(
      { directory, ship: build.ship, leaveOut: build.leave_out, store: this.store.directory, cache },
      signal,
    )
    return this.#save(makeManifest(entries), read)
  }

  /**
   * Removes what nobody needs: manifests and objects of artifacts that are not `needed`, not the result of one of the
   * builds that were asked for last, and older than a day. `needed` is asked once nothing is made or uploaded; what
   * begins meanwhile ends it, and the rest is removed the next time. Null: something was under way.
   */
  async collect(needed: () => Promise<readonly Digest[]>, now: number): Promise<Collected | null> {
    const { ever } = this.#activity
    const idle = () => this.#activity.now === 0 && this.#activity.ever === ever
    if (!idle()) return null
    const keep = new Set([...(await needed()), ...this.#recentBuilds(now)])
    for (const { digest, time } of this.manifests.all()) if (time > now - keepUnused) keep.add(digest)
    const objects = new Set<Digest>()
    for (const artifact of keep) {
      await setImmediate()
      for (const digest of this.objects(artifact)?.keys() ?? []) objects.add(digest)
    }
    if (!idle()) return null
    const manifests = this.manifests.collect(keep)
    return { manifests, ...(await this.store.collect(objects, now - keepUnused, idle)) }
  }

  [Symbol.dispose](): void {
    this.packs.clear()
    this.#blobs[Symbol.dispose]()
  }

  /** Straight from git: no checkout, and only blobs that were never seen are read. */
  async #fromTree(mirror: GitMirror, tree: string, config: Config, signal: AbortSignal): Promise<Built> {
    const { ship, leave_out: leaveOut } = config.build
    const last = new LastTree(this.#data, [mirror.path, config.source.subfolder, ship, leaveOut])
    const before = last.read()
    // Asked for the same tree again, objects of its artifact are missing: then all of it is looked at.
    const base = before !== null && before.tree !== tree ? this.#sound(before.artifact) : null
    const changes = base === null ? null : await treeChanges(mirror.path, before!.tree, tree, signal)
    const { entries, read } = await this.#entriesOf(
      mirror,
      changes?.items ?? (await treeItems(mirror.path, tree, signal)),
      selection(ship, leaveOut),
      signal,
    )
    const manifest =
      changes === null ? makeManifest(entries) : applyDelta(base, { removed: changes.removed, changed: entries })
    const built = this.#save(manifest, read)
    last.write({ tree, artifact: built.artifact })
    return built
  }

  /** The manifest of an artifact, unless it is missing or damaged. */
  #sound(artifact: Digest): Manifest | null {
    try {
      return this.manifests.get(artifact)
    } catch {
      return null
    }
  }

  async #entriesOf(
    mirror: GitMirror,
    all: readonly TreeItem[],
    shipped: Selection,
    signal: AbortSignal,
  ): Promise<{ entries: Entry[]; read: number }> {
    const items = all.filter(({ path }) => shipped.ships(path))
    const links = items.filter(({ kind }) => kind === 'link')
    const targets = await linkTargets(mirror.path, links, signal)
    const sizes = new Map(items.map(({ oid, size }) => [oid, size]))
    const known = this.#blobs.find([...sizes.keys()])
    for (const [oid, digest] of known) if (!this.store.has(digest, sizes.get(oid))) known.delete(oid)
    const names = new Map(items.filter(({ kind }) => kind === 'file').map(({ oid, path }) => [oid, path]))
    const fresh = [...names.keys()].filter((oid) => !known.has(oid))
    const read = await readBlobs(mirror.path, fresh, this.store, (oid) => names.get(oid) ?? oid, signal)
    await this.store.flush()
    this.#blobs.add(read)
    const entries = items.map((item): Entry => {
      if (item.kind === 'link') return { kind: 'link', path: item.path, target: targets.get(item.oid)! }
      return {
        kind: 'file',
        path: item.path,
        executable: item.executable,
        size: item.size,
        digest: known.get(item.oid) ?? read.get(item.oid)!,
      }
    })
    return { entries, read: read.size }
  }

  async #fromBuild(
    mirror: GitMirror,
    tree: string,
    config: Config,
    commit: string,
    options: { signal: AbortSignal; onOutput: OnOutput },
  ): Promise<Built> {
    const { build } = config
    await using built = await buildTree({
      mirror: mirror.path,
      tree,
      build,
      env: { DPLOY_APPLICATION: config.application, DPLOY_REVISION: commit },
      directory: this.#data,
      application: config.application,
      ...options,
    })
    const known = built.checkedOut.known(this.#blobs)
    const { entries, read, learned } = await this.#scan(
      {
        directory: built.path,
        ship: build.ship,
        leaveOut: build.leave_out,
        store: this.store.directory,
        cache: null,
        known,
      },
      options.signal,
    )
    built.checkedOut.remember(learned, this.#blobs)
    return this.#save(makeManifest(entries), read)
  }

  #save(manifest: Manifest, read: number): Built {
    if (manifest.entries.length === 0) throw new DployError('build.nothing_to_ship')
    this.manifests.save(manifest)
    return { artifact: manifest.digest, cached: false, read }
  }

  async #scan(options: ScanOptions, signal: AbortSignal): Promise<Scanned> {
    signal.throwIfAborted()
    const worker = new Worker(join(dirname(import.meta.filename), `scan-worker${extname(import.meta.filename)}`), {
      workerData: options,
      name: 'dploy scan',
    })
    const { promise, resolve, reject } = Promise.withResolvers<Scanned>()
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    worker.once('message', (message: ({ ok: true } & Scanned) | { ok: false; error: ErrorReport }) =>
      message.ok ? resolve(message) : reject(DployError.from(message.error)),
    )
    worker.once('error', reject)
    worker.once('exit', () => reject(new DployError('internal', 'The scan ended without a result')))
    return promise.finally(() => {
      signal.removeEventListener('abort', abort)
      void worker.terminate()
    })
  }

  #mirror(config: Config, base: string | null): GitMirror {
    const { repository } = config.source
    const mirror = new GitMirror(join(this.#data, 'mirrors'), repository, base)
    const known = this.#mirrors.get(mirror.path)
    if (known) return known
    this.#mirrors.set(mirror.path, mirror)
    return mirror
  }

  #active(): Disposable {
    this.#activity.now++
    this.#activity.ever++
    return { [Symbol.dispose]: () => void this.#activity.now-- }
  }

  /** Artifacts of the builds that were asked for last; forgets the others. */
  #recentBuilds(now: number): Digest[] {
    const directory = join(this.#data, 'artifacts')
    const builds = readdirSync(directory)
      .filter((name) => digestPattern.test(name))
      .map((name) => ({ path: join(directory, name), used: statSync(join(directory, name)).mtimeMs }))
      .sort((a, b) => b.used - a.used)
    const recent = builds.slice(0, keepBuilds).filter(({ used }) => used > now - keepBuildsFor)
    for (const { path } of builds.slice(recent.length)) rmSync(path, { force: true })
    return recent.map(({ path }) => readFileSync(path, 'utf8'))
  }

  #built(key: string): Digest | null {
    try {
      const path = join(this.#data, 'artifacts', key)
      const digest = readFileSync(path, 'utf8')
      const manifest = this.manifests.get(digest)
      if (![...objectsOf(manifest)].every(([object, size]) => this.store.has(object, size))) return null
      const now = new Date()
      utimesSync(path, now, now)
      return digest
    } catch {
      return null
    }
  }

  #remember(key: string, digest: Digest): void {
    const path = join(this.#data, 'artifacts', key)
    writeFileSync(`${path}.${process.pid}`, digest)
    renameSync(`${path}.${process.pid}`, path)
  }
}

/** What an artifact is made of: the same tree by the same definition is the same artifact. The application is told to the build command. */
function keyOf(tree: string, { build, application }: Config): string {
  return createHash('sha256')
    .update(
      JSON.stringify([
        2,
        tree,
        build.command === undefined ? null : [build.command, application],
        build.ship,
        build.leave_out,
        build.variables,
      ]),
    )
    .digest('hex')
}
