import { readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'

const maxFileBytes = 512 * 1024
const maxSources = 400
const maxFolders = 2000
const skipped = new Set([
  'node_modules',
  'vendor',
  'dist',
  'build',
  'out',
  'target',
  'tmp',
  'log',
  'coverage',
  'venv',
  'env',
  '__pycache__',
  'test',
  'tests',
  'spec',
  '__tests__',
])

/** A directory as the recognisers look at it: what is there, never an error for what is not. Reads within bounds. */
export class Project {
  readonly directory: string
  readonly #texts = new Map<string, string | null>()
  #folders = 0
  readonly #sources = new Map<string, { path: string; text: string }[]>()

  constructor(directory: string) {
    this.directory = directory
  }

  get name(): string {
    return basename(this.directory)
  }

  isFile(path: string): boolean {
    return this.#stat(path)?.isFile() ?? false
  }

  isDirectory(path: string): boolean {
    return this.#stat(path)?.isDirectory() ?? false
  }

  /** The first of these files that exists. */
  firstFile(paths: readonly string[]): string | null {
    return paths.find((path) => this.isFile(path)) ?? null
  }

  /** Names in a directory, sorted; empty if there is none. */
  list(path = '.'): string[] {
    try {
      return readdirSync(join(this.directory, path)).sort()
    } catch {
      return []
    }
  }

  /** Names of the directories in a directory, without hidden ones and those that tools make. */
  folders(path = '.'): string[] {
    return this.list(path).filter(
      (name) => !name.startsWith('.') && !skipped.has(name) && this.isDirectory(join(path, name)),
    )
  }

  /** The content of a file; empty if it cannot be read or is too large to be written by a person. */
  text(path: string): string {
    let text = this.#texts.get(path)
    if (text === undefined) {
      const stat = this.#stat(path)
      try {
        text = stat?.isFile() && stat.size <= maxFileBytes ? readFileSync(join(this.directory, path), 'utf8') : null
      } catch {
        text = null
      }
      this.#texts.set(path, text)
    }
    return text ?? ''
  }

  /** A JSON file that holds an object; null if it is not there or not that. */
  json(path: string): Record<string, unknown> | null {
    try {
      const value: unknown = JSON.parse(this.text(path))
      return typeof value === 'object' && value !== null && !Array.isArray(value)
        ? (value as Record<string, unknown>)
        : null
    } catch {
      return null
    }
  }

  /** Source files whose name ends in one of these, at most four folders deep, at most 400. */
  sources(endings: readonly string[]): { path: string; text: string }[] {
    const key = endings.join()
    let found = this.#sources.get(key)
    if (found === undefined) {
      found = []
      this.#folders = 0
      this.#collect('', 0, endings, found)
      this.#sources.set(key, found)
    }
    return found
  }

  #collect(folder: string, depth: number, endings: readonly string[], found: { path: string; text: string }[]): void {
    if (this.#folders++ >= maxFolders) return
    const folders: string[] = []
    for (const name of this.list(folder === '' ? '.' : folder)) {
      if (found.length >= maxSources) return
      const path = folder === '' ? name : `${folder}/${name}`
      if (endings.some((ending) => name.endsWith(ending)) && !/[._](test|spec)\./.test(name) && this.isFile(path))
        found.push({ path, text: this.text(path) })
      else if (!name.startsWith('.') && !skipped.has(name) && this.isDirectory(path)) folders.push(path)
    }
    if (depth < 4) for (const path of folders) this.#collect(path, depth + 1, endings, found)
  }

  #stat(path: string) {
    try {
      return statSync(join(this.directory, path), { throwIfNoEntry: false })
    } catch {
      // No permission, or a link that leads in circles: nothing that could be recognised.
      return undefined
    }
  }
}
