import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statfsSync,
  symlinkSync,
  writeSync,
} from 'node:fs'
import { join, resolve, sep } from 'node:path'
import { promisify } from 'node:util'
import { DployError } from '../protocol/errors.ts'
import {
  decodeDelta,
  decodeManifest,
  textOf,
  type Digest,
  type FileEntry,
  type Manifest,
} from '../protocol/manifest.ts'
import { releaseSpecSchema, type ReleaseSpec } from '../protocol/release-spec.ts'
import { accountOf } from './commands/as-user.ts'
import { addFiles, missingAssets } from './assets.ts'
import { ObjectStore, objectKey } from './object-store.ts'
import { contentsApart, makeTree, seedShared } from './release-tree.ts'
import { isLeft, unfinishedName } from './unfinished.ts'

const run = promisify(execFile)
/** Parsed manifests that are kept: what runs, what came before, what is staged, and the spare tree's. */
const keepParsed = 4
/** How long a release that was looked at is believed to be as it was. Milliseconds. */
const believed = 10_000

/**
 * Where one application's environment lives on a server:
 *
 *     current -> releases/41        what serves; switched by rename(2)
 *     releases/41/                  hard links into the object store
 *     shared/                       what outlives releases
 *     .dploy/objects, manifests/DIGEST, releases/41.json, spare/
 *
 * A release counts once its tree stands under its number, which is the last thing that staging does.
 */
export class ApplicationDirectory {
  readonly path: string
  readonly store: ObjectStore
  readonly #manifests = new Map<Digest, Manifest>()
  /** When releases were last looked at, by `performance.now()`. */
  readonly #looked = new Map<number, number>()

  /** Opens, and makes what is missing. `directory` is absolute, taken below `root`. Throws `path.unsafe`. */
  constructor(root: string, directory: string) {
    this.path = below(root, directory)
    for (const part of ['releases', 'shared', '.dploy/manifests', '.dploy/releases'])
      mkdirSync(join(this.path, part), { recursive: true, mode: 0o755 })
    this.store = new ObjectStore(join(this.path, '.dploy/objects'))
    for (const name of readdirSync(join(this.path, 'releases'))) {
      if (name.startsWith('.') && isLeft(name))
        rmSync(join(this.path, 'releases', name), { recursive: true, force: true })
    }
  }

  /** Whether what the constructor made still stands. */
  get isThere(): boolean {
    return existsSync(join(this.path, '.dploy/objects/new'))
  }

  /** Number of the release that `current` points at; null if there is none. */
  current(): number | null {
    try {
      const number = Number(/^releases\/(\d+)$/.exec(readlinkSync(join(this.path, 'current')))?.[1])
      return Number.isSafeInteger(number) ? number : null
    } catch {
      return null
    }
  }

  /** Numbers of the releases that are here whole, ascending. */
  numbers(): number[] {
    return readdirSync(join(this.path, 'releases'))
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((number) => this.spec(number) !== null)
      .sort((a, b) => a - b)
  }

  /** What the release in place was made from; null if there is none. */
  currentSpec(): ReleaseSpec | null {
    const current = this.current()
    return current === null ? null : this.spec(current)
  }

  /** A release here that is another application's or another environment's; null: there is none. A directory is for one environment of one application. */
  foreign({ application, environment }: { application: string; environment: string }): ReleaseSpec | null {
    const spec = this.currentSpec() ?? this.spec(this.numbers().at(-1) ?? 0)
    return spec !== null && isForeign(spec, { application, environment }) ? spec : null
  }

  /** Throws `server.directory_taken` where `foreign` finds one. */
  mustNotBeForeign(place: { application: string; environment: string }): void {
    const spec = this.foreign(place)
    if (spec === null) return
    throw new DployError(
      'server.directory_taken',
      `${this.path} holds release ${spec.number} of ${spec.application} in ${spec.environment}, and is not used for ${place.application} in ${place.environment}`,
    )
  }

  /** What a release was made from; null if it is not here. */
  spec(number: number): ReleaseSpec | null {
    try {
      return releaseSpecSchema.parse(
        JSON.parse(readFileSync(join(this.path, '.dploy/releases', `${number}.json`), 'utf8')),
      )
    } catch {
      return null
    }
  }

  releasePath(number: number): string {
    return join(this.path, 'releases', String(number))
  }

  /** What the next release's tree will be made from; null if there is no spare tree. */
  spareManifest(): Manifest | null {
    const artifact = this.#spareArtifact()
    return artifact === null ? null : this.manifest(artifact)
  }

  /** A manifest that is kept here and has the content its name promises; null otherwise. */
  manifest(digest: Digest): Manifest | null {
    const known = this.#manifests.get(digest)
    if (known) return known
    try {
      const manifest = decodeManifest(readFileSync(join(this.path, '.dploy/manifests', digest), 'utf8'))
      if (manifest.digest !== digest) return null
      this.#remember(manifest)
      return manifest
    } catch {
      return null
    }
  }

  saveManifest(manifest: Manifest): void {
    const path = join(this.path, '.dploy/manifests', manifest.digest)
    // Not flushed: it is checked by its name whenever it is read, and one that a power cut took is fetched again.
    if (!lstatSync(path, { throwIfNoEntry: false })) writeAtomically(path, textOf(manifest), { flush: false })
    this.#remember(manifest)
  }

  /**
   * Makes the tree of a release, out of the spare one where there is one, and lets it count. `objectsNeedSync`: many
   * objects came, and the file system is to be flushed as a whole.
   */
  async place(spec: ReleaseSpec, manifest: Manifest, objectsNeedSync: boolean): Promise<void> {
    const staging = join(this.path, 'releases', unfinishedName(`.staging-${spec.number}`))
    rmSync(staging, { recursive: true, force: true })
    const before = this.#takeSpare(staging)
    const options = {
      store: this.store,
      manifest,
      shared: spec.shared,
      sharedDirectory: join(this.path, 'shared'),
      before,
      writable: spec.writable ?? [],
      owner: ownerOf(spec),
      also: this.#assetsOfCurrent(spec, manifest),
    }
    makeTree(staging, options)
    seedShared(options)
    writeAtomically(join(this.path, '.dploy/releases', `${spec.number}.json`), JSON.stringify(spec))
    rmSync(this.releasePath(spec.number), { recursive: true, force: true })
    renameSync(staging, this.releasePath(spec.number))
    this.#giveAssets(spec, manifest)
    await this.#flush(objectsNeedSync)
    this.#looked.set(spec.number, performance.now())
  }

  /**
   * Checks a release that is here, and mends it from the store. `changed` gets the paths that were not as shipped;
   * `keepOthers`: what its service made beside them stays.
   */
  check(spec: ReleaseSpec, manifest: Manifest, changed: Set<string>, keepOthers: boolean): void {
    makeTree(this.releasePath(spec.number), {
      store: this.store,
      manifest,
      shared: spec.shared,
      sharedDirectory: join(this.path, 'shared'),
      before: manifest,
      writable: spec.writable ?? [],
      owner: ownerOf(spec),
      standing: true,
      keepOthers,
      changed,
      also: this.#assetsOfCurrent(spec, manifest),
    })
    this.#giveAssets(spec, manifest)
    this.#looked.set(spec.number, performance.now())
  }

  /** Whether a release was looked at moments ago, and has not served since. */
  isFresh(number: number): boolean {
    return performance.now() - (this.#looked.get(number) ?? -Infinity) < believed
  }

  /** What the release that serves has below `release.assets`, and this one has not. */
  #assetsOfCurrent(spec: ReleaseSpec, manifest: Manifest): FileEntry[] {
    const serving = this.#serving()
    // One that the application wrote to is no reason to fail.
    return serving === null
      ? []
      : missingAssets(manifest, serving.manifest, spec.assets).filter((file) => this.store.holds(file))
  }

  /** The release that serves gets the new one's assets: its pages may be asked for them while both run. */
  #giveAssets(spec: ReleaseSpec, manifest: Manifest): void {
    const serving = this.#serving()
    if (serving === null || serving.number === spec.number) return
    const { shared, writable = [] } = this.spec(serving.number)!
    const files = missingAssets(serving.manifest, manifest, spec.assets).filter(
      ({ path }) => ![...shared, ...writable].some((one) => path === one || path.startsWith(`${one}/`)),
    )
    addFiles(
      this.releasePath(serving.number),
      files,
      this.store,
      contentsApart([...serving.manifest.entries, ...files]),
    )
  }

  #serving(): { number: number; manifest: Manifest } | null {
    const number = this.current()
    const artifact = number === null ? undefined : this.spec(number)?.artifact
    const manifest = artifact === undefined ? null : this.manifest(artifact)
    return number === null || manifest === null ? null : { number, manifest }
  }

  /** Makes a release the current one, atomically. Throws `release.unknown`. */
  switchTo(number: number): void {
    if (!lstatSync(this.releasePath(number), { throwIfNoEntry: false })?.isDirectory())
      throw new DployError('release.unknown', `The release ${number} is not staged here`)
    const link = join(this.path, `.current-${process.pid}`)
    rmSync(link, { force: true })
    symlinkSync(`releases/${number}`, link)
    renameSync(link, join(this.path, 'current'))
    syncDirectory(this.path)
    this.#looked.delete(number)
  }

  freeBytes(): number {
    const stat = statfsSync(this.path)
    return stat.bavail * stat.bsize
  }

  /**
   * Removes releases beyond `keep` before the current one, never the current, a newer, or a protected one; then
   * manifests and objects that nothing names. The last tree that goes becomes the spare for the next stage.
   */
  collect(
    keep: number,
    protect: readonly number[],
  ): { removedReleases: number[]; removedObjects: number; freedBytes: number } {
    const current = this.current()
    const older = this.numbers().filter((number) => current === null || number < current)
    const removed = older.slice(0, Math.max(0, older.length - keep)).filter((number) => !protect.includes(number))
    for (const number of removed) {
      const artifact = this.spec(number)?.artifact
      if (artifact !== undefined && this.manifest(artifact)) this.#makeSpare(number, artifact)
      rmSync(this.releasePath(number), { recursive: true, force: true })
      rmSync(join(this.path, '.dploy/releases', `${number}.json`), { force: true })
    }
    return { removedReleases: removed, ...this.#collectObjects() }
  }

  /** Makes a spare tree of the current release, so that the next stage need not link everything. */
  prepareSpare(): void {
    const current = this.current()
    const spec = current === null ? null : this.spec(current)
    const manifest = spec === null ? null : this.manifest(spec.artifact)
    if (!spec || !manifest || this.#spareArtifact() !== null) return
    const scratch = join(this.path, '.dploy/spare.new')
    rmSync(scratch, { recursive: true, force: true })
    makeTree(scratch, {
      store: this.store,
      manifest,
      shared: spec.shared,
      sharedDirectory: join(this.path, 'shared'),
      before: null,
      writable: spec.writable ?? [],
    })
    this.#keepSpare(scratch, manifest.digest)
  }

  #collectObjects(): { removedObjects: number; freedBytes: number } {
    const artifacts = new Set(this.numbers().map((number) => this.spec(number)!.artifact))
    const spare = this.#spareArtifact()
    if (spare !== null) artifacts.add(spare)
    const keep = new Set<string>()
    for (const artifact of artifacts) for (const key of this.#objectsOf(artifact)) keep.add(key)
    for (const name of readdirSync(join(this.path, '.dploy/manifests'))) {
      if (artifacts.has(name)) continue
      rmSync(join(this.path, '.dploy/manifests', name), { force: true })
      this.#manifests.delete(name)
    }
    const { objects, bytes } = this.store.collect(keep)
    return { removedObjects: objects, freedBytes: bytes }
  }

  /** Names of an artifact's objects; none for a manifest that is missing or damaged. Those that are read for this alone do not push out what the next stage needs. */
  #objectsOf(artifact: Digest): string[] {
    const known = this.#manifests.get(artifact)
    if (known) return known.entries.flatMap((entry) => (entry.kind === 'file' ? [objectKey(entry)] : []))
    try {
      const text = readFileSync(join(this.path, '.dploy/manifests', artifact))
      if (createHash('sha256').update(text).digest('hex') !== artifact) return []
      return decodeDelta(text.toString('utf8')).changed.flatMap((entry) =>
        entry.kind === 'file' ? [objectKey(entry)] : [],
      )
    } catch {
      return []
    }
  }

  #makeSpare(number: number, artifact: Digest): void {
    const scratch = join(this.path, '.dploy/spare.new')
    rmSync(scratch, { recursive: true, force: true })
    renameSync(this.releasePath(number), scratch)
    this.#keepSpare(scratch, artifact)
  }

  #keepSpare(tree: string, artifact: Digest): void {
    rmSync(join(this.path, '.dploy/spare'), { recursive: true, force: true })
    mkdirSync(join(this.path, '.dploy/spare'))
    renameSync(tree, join(this.path, '.dploy/spare', artifact))
  }

  #spareArtifact(): Digest | null {
    try {
      return readdirSync(join(this.path, '.dploy/spare'))[0] ?? null
    } catch {
      return null
    }
  }

  /** Moves the spare tree to `path`; answers what it was made from, or null if there is none that can be trusted. */
  #takeSpare(path: string): Manifest | null {
    const manifest = this.spareManifest()
    if (manifest === null) return null
    try {
      renameSync(join(this.path, '.dploy/spare', manifest.digest), path)
      return manifest
    } catch (error) {
      // Another agent has cleaned up since.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    }
  }

  /**
   * Few objects were flushed one by one; the flush of a directory then forces the journal, with every link and rename
   * that came before (ext4, xfs). Many are cheaper in one syncfs(2): see decisions.
   */
  async #flush(everything: boolean): Promise<void> {
    if (everything) await run('sync', ['-f', this.path])
    else syncDirectory(join(this.path, 'releases'))
  }

  #remember(manifest: Manifest): void {
    this.#manifests.delete(manifest.digest)
    this.#manifests.set(manifest.digest, manifest)
    if (this.#manifests.size > keepParsed) this.#manifests.delete(this.#manifests.keys().next().value!)
  }
}

/** Whether a release is another application's, or another environment's. */
export function isForeign(
  spec: ReleaseSpec,
  { application, environment }: { application: string; environment: string },
): boolean {
  return spec.application !== application || spec.environment !== environment
}

/** The path that `directory` means below `root`. Throws `path.unsafe`. */
export function below(root: string, directory: string): string {
  const base = resolve(root)
  const path = resolve(base, `.${sep}${directory}`)
  if (
    directory.split('/').includes('..') ||
    (path !== base && !path.startsWith(base === sep ? sep : base + sep)) ||
    path === base
  ) {
    throw new DployError('path.unsafe', `The path ${JSON.stringify(directory)} is not below ${base}`)
  }
  return path
}

/** To whom the service's own paths belong; null: to whom the agent runs as. */
function ownerOf(spec: ReleaseSpec): { uid: number; gid: number } | null {
  return spec.service?.user !== undefined && process.getuid?.() === 0 ? accountOf(spec.service.user) : null
}

function writeAtomically(path: string, text: string, options: { flush: boolean } = { flush: true }): void {
  const temporary = `${path}.new-${process.pid}`
  const file = openSync(temporary, 'w', 0o600)
  try {
    writeSync(file, text)
    if (options.flush) fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(temporary, path)
}

function syncDirectory(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
