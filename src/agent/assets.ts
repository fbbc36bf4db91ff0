import { lstatSync, mkdirSync } from 'node:fs'
import type { Digest, FileEntry, Manifest } from '../protocol/manifest.ts'
import type { ObjectStore } from './object-store.ts'

/**
 * Files of `other` below the assets' paths that `own` has nothing for. While both releases run, a page of one may ask a
 * server of the other for them. A name that both have is each release's own.
 */
export function missingAssets(own: Manifest, other: Manifest, assets: readonly string[]): FileEntry[] {
  if (assets.length === 0 || own.digest === other.digest) return []
  const below = (path: string) => assets.some((asset) => path === asset || path.startsWith(`${asset}/`))
  const files = other.entries.filter((entry): entry is FileEntry => entry.kind === 'file' && below(entry.path))
  if (files.length === 0) return []
  const kinds = new Map(own.entries.map((entry) => [entry.path, entry.kind]))
  return files.filter(
    ({ path }) =>
      !kinds.has(path) && parents(path).every((parent) => (kinds.get(parent) ?? 'directory') === 'directory'),
  )
}

/** Links files into a tree that serves, beside what is there: `apart` are contents of which each path is a file of its own. Where something stands in the way, it stays. Answers how many came. */
export function addFiles(
  tree: string,
  files: readonly FileEntry[],
  store: ObjectStore,
  apart: ReadonlySet<Digest>,
): number {
  let added = 0
  for (const file of files) {
    if (!parents(file.path).every((parent) => isDirectory(`${tree}/${parent}`))) continue
    if (lstatSync(`${tree}/${file.path}`, { throwIfNoEntry: false })) continue
    if (apart.has(file.digest)) store.copy(file, `${tree}/${file.path}`)
    else store.link(file, `${tree}/${file.path}`)
    added++
  }
  return added
}

/** Makes it where there is nothing. A link is no directory: it may lead out of the tree. */
function isDirectory(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat) return stat.isDirectory()
  mkdirSync(path, { mode: 0o755 })
  return true
}

/** `a`, `a/b` of `a/b/c`. */
function parents(path: string): string[] {
  const found: string[] = []
  for (let slash = path.indexOf('/'); slash > 0; slash = path.indexOf('/', slash + 1)) found.push(path.slice(0, slash))
  return found
}
