import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import { neitherHereNorThere, type ReleaseSpec } from '../protocol/release-spec.ts'

const keptSchema = z.object({ release: z.string(), secrets: z.record(z.string(), z.string()) })

/**
 * The values of secrets that releases on this server were made with, so that it can run them again without anybody who knows
 * them: STATE/kept/APPLICATION/ENVIRONMENT/RELEASE.json, readable by the agent's user alone. Variables stand in the release.
 */
export class KeptEnvironments {
  readonly #top: string

  constructor(stateDirectory: string) {
    this.#top = join(stateDirectory, 'kept')
  }

  /** Keeps the values of a release, on disk when it returns; nothing where some are missing, or where they are kept already. */
  keep(spec: ReleaseSpec, values: Readonly<Record<string, string>>): void {
    const names = Object.keys(spec.secrets ?? {})
    if (names.length === 0 || names.some((name) => values[name] === undefined)) return
    const secrets = Object.fromEntries(names.map((name) => [name, values[name]!]))
    const known = this.values(spec)
    if (names.every((name) => known[name] === secrets[name])) return
    const directory = this.#directory(spec)
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    // Whoever made it before, and with whatever umask.
    chmodSync(this.#top, 0o700)
    const path = this.#path(spec)
    const temporary = `${path}.new-${process.pid}`
    const file = openSync(temporary, 'w', 0o600)
    try {
      writeSync(file, JSON.stringify({ release: spec.id, secrets } satisfies z.infer<typeof keptSchema>))
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(temporary, path)
    syncDirectory(directory)
  }

  /** What is kept of a release; empty where nothing is. */
  values(spec: ReleaseSpec): Record<string, string> {
    if (Object.keys(spec.secrets ?? {}).length === 0) return {}
    try {
      const kept = keptSchema.parse(JSON.parse(readFileSync(this.#path(spec), 'utf8')))
      return kept.release === spec.id ? kept.secrets : {}
    } catch {
      return {}
    }
  }

  /** Names of the release's secrets whose values are not kept here. */
  missing(spec: ReleaseSpec): string[] {
    const values = this.values(spec)
    return Object.keys(spec.secrets ?? {}).filter((name) => values[name] === undefined)
  }

  /** Throws `secret.missing` for a release that needs values which are neither brought nor kept. */
  check(spec: ReleaseSpec, brought: Readonly<Record<string, string>>, server: string): void {
    const gone = this.missing(spec).filter((name) => brought[name] === undefined)
    if (gone.length > 0) throw neitherHereNorThere(spec.number, gone, server)
  }

  /** The values that a command is done with although it did not bring them: who sent it cannot take them out of what is told. */
  unsaid(params: unknown): string[] {
    const { release, local } = params as {
      release?: ReleaseSpec | number
      local?: { secrets?: Record<string, string> }
    }
    if (typeof release !== 'object') return []
    return Object.entries(this.values(release)).flatMap(([name, value]) =>
      local?.secrets?.[name] === value ? [] : [value],
    )
  }

  /** Removes what is kept of all releases of a place but these. */
  prune(place: { application: string; environment: string }, releases: readonly string[]): void {
    const directory = this.#directory(place)
    const wanted = new Set(releases.map(fileName))
    for (const name of namesIn(directory)) if (!wanted.has(name)) rmSync(join(directory, name), { force: true })
  }

  #directory({ application, environment }: { application: string; environment: string }): string {
    return join(this.#top, encodeURIComponent(application), encodeURIComponent(environment))
  }

  #path(spec: ReleaseSpec): string {
    return join(this.#directory(spec), fileName(spec.id))
  }
}

function fileName(release: string): string {
  return `${encodeURIComponent(release)}.json`
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

function syncDirectory(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
