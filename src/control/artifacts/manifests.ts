import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { DployError } from '../../protocol/errors.ts'
import { decodeManifest, digestPattern, textOf, type Digest, type Manifest } from '../../protocol/manifest.ts'

/** Parsed manifests that are kept. */
const keepParsed = 4

/** The manifests of all artifacts, by digest. */
export class Manifests {
  readonly #directory: string
  readonly #parsed = new Map<Digest, Manifest>()

  constructor(directory: string) {
    this.#directory = directory
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  }

  has(digest: Digest): boolean {
    return existsSync(join(this.#directory, digest))
  }

  /** The canonical text. Throws `object.missing`. */
  text(digest: Digest): Buffer {
    try {
      return readFileSync(join(this.#directory, digest))
    } catch (cause) {
      throw new DployError('object.missing', `The manifest of artifact ${digest.slice(0, 12)} is not here`, { cause })
    }
  }

  /** Throws `object.missing`; `object.corrupt` for one that is damaged, which is forgotten then. */
  get(digest: Digest): Manifest {
    const known = this.#parsed.get(digest)
    if (known) return known
    const text = this.text(digest)
    if (createHash('sha256').update(text).digest('hex') !== digest) {
      rmSync(join(this.#directory, digest), { force: true })
      throw new DployError(
        'object.corrupt',
        `The manifest of artifact ${digest.slice(0, 12)} is damaged, and was removed`,
        { where: join(this.#directory, digest), fix: 'Deploy the revision again' },
      )
    }
    const manifest = decodeManifest(text.toString('utf8'))
    this.#remember(manifest)
    return manifest
  }

  save(manifest: Manifest): void {
    const path = join(this.#directory, manifest.digest)
    if (!existsSync(path)) {
      const temporary = `${path}.${process.pid}`
      const file = openSync(temporary, 'w', 0o600)
      writeFileSync(file, textOf(manifest))
      fsyncSync(file)
      closeSync(file)
      renameSync(temporary, path)
    }
    this.#remember(manifest)
  }

  /** All that are here, with the epoch milliseconds at which each was made. */
  all(): { digest: Digest; time: number }[] {
    return readdirSync(this.#directory)
      .filter((name) => digestPattern.test(name))
      .map((digest) => ({
        digest,
        time: statSync(join(this.#directory, digest), { throwIfNoEntry: false })?.mtimeMs ?? 0,
      }))
  }

  /** Removes what is not in `keep`; answers how many. */
  collect(keep: ReadonlySet<Digest>): number {
    const gone = this.all().filter(({ digest }) => !keep.has(digest))
    for (const { digest } of gone) {
      rmSync(join(this.#directory, digest), { force: true })
      this.#parsed.delete(digest)
    }
    return gone.length
  }

  #remember(manifest: Manifest): void {
    this.#parsed.delete(manifest.digest)
    this.#parsed.set(manifest.digest, manifest)
    if (this.#parsed.size > keepParsed) this.#parsed.delete(this.#parsed.keys().next().value!)
  }
}
