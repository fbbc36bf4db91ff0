import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
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
      throw new DployError('object.corrupt', `The manifest of artifact ${digest.slice(0, 12)} is damaged, and was removed`, { where: join(this.#directory, digest), fix: 'Deploy the revision again' })
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

  /** Removes what is not in `keep`. */
  collect(keep: ReadonlySet<Digest>): void {
    for (const name of readdirSync(this.#directory)) if (digestPattern.test(name) && !keep.has(name)) rmSync(join(this.#directory, name), { force: true })
    for (const digest of this.#parsed.keys()) if (!keep.has(digest)) this.#parsed.delete(digest)
  }

  #remember(manifest: Manifest): void {
    this.#parsed.delete(manifest.digest)
    this.#parsed.set(manifest.digest, manifest)
    if (this.#parsed.size > keepParsed) this.#parsed.delete(this.#parsed.keys().next().value!)
  }
}
