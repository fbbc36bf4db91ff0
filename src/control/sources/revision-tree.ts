import { checkPath } from '../../protocol/manifest.ts'
import { DployError } from '../../protocol/errors.ts'
import { git, GitError } from './git.ts'

/** A file or link in a commit; `oid` names its content in git. */
export interface TreeItem {
  path: string
  kind: 'file' | 'link'
  executable: boolean
  oid: string
  /** Bytes. */
  size: number
}

/** What one tree has and another has not. */
export interface TreeChanges {
  removed: string[]
  /** New or changed. */
  items: TreeItem[]
}

/**
 * Names the whole content of a commit, or of one folder of it: the same tree is the same code, whatever commit it is in.
 * Throws `source.revision_unknown` for a folder that is not there.
 */
export async function treeOf(
  mirror: string,
  commit: string,
  subfolder: string | undefined,
  signal: AbortSignal,
): Promise<string> {
  const folder = (subfolder ?? '').replace(/^(?:\.(?:\/+|$))+|\/+$/g, '')
  const name = folder === '' ? `${commit}^{tree}` : `${commit}:${folder}`
  try {
    const oid = (await git(['rev-parse', '--verify', '--quiet', '--end-of-options', name], { cwd: mirror, signal }))
      .toString()
      .trim()
    // A file has a name of that form too.
    if (folder !== '' && (await git(['cat-file', '-t', oid], { cwd: mirror, signal })).toString().trim() !== 'tree')
      throw new DployError('source.revision_unknown', `${subfolder} in ${commit.slice(0, 7)} is no folder`, {
        where: 'source.subfolder',
      })
    return oid
  } catch (error) {
    if (!(error instanceof GitError)) throw error
    throw new DployError(
      'source.revision_unknown',
      folder === ''
        ? `The tree of ${commit} cannot be read`
        : `There is no folder ${subfolder} in ${commit.slice(0, 7)}`,
      { where: 'source.subfolder', cause: error },
    )
  }
}

/**
 * What is in a tree; paths begin at it. Throws `source.unsupported` for submodules, `source.unsafe` for names that cannot
 * be shipped.
 */
export async function treeItems(mirror: string, tree: string, signal: AbortSignal): Promise<TreeItem[]> {
  let listing: Buffer
  try {
    listing = await git(['ls-tree', '-r', '-z', '-l', '--end-of-options', tree], { cwd: mirror, signal })
  } catch (error) {
    if (!(error instanceof GitError)) throw error
    throw new DployError('source.unsafe', `The tree ${tree} cannot be read: ${error.problem}`, {
      where: tree,
      fix: 'Run git fsck in the repository',
      cause: error,
    })
  }
  const items: TreeItem[] = []
  const decoder = new TextDecoder('utf-8', { fatal: true })
  for (let start = 0; start < listing.length;) {
    const end = listing.indexOf(0, start)
    const tab = listing.indexOf(9, start)
    const [mode, , oid, size] = listing.toString('latin1', start, tab).split(/ +/)
    items.push(itemOf(decodePath(decoder, listing.subarray(tab + 1, end)), mode!, oid!, Number(size)))
    start = end + 1
  }
  return items
}

/** What has changed between two trees; null when one of them cannot be read. Throws as `treeItems`. */
export async function treeChanges(
  mirror: string,
  from: string,
  to: string,
  signal: AbortSignal,
): Promise<TreeChanges | null> {
  try {
    const raw = await git(['diff-tree', '-r', '-z', '--no-renames', '--end-of-options', from, to], {
      cwd: mirror,
      signal,
    })
    const changes = parseChanges(raw)
    if (changes.items.length === 0) return changes
    // Asked by id: a path would be taken for a pattern, and normalized.
    const sizes = (
      await git(['cat-file', '--batch-check=%(objectsize)'], {
        cwd: mirror,
        signal,
        input: changes.items.map(({ oid }) => `${oid}\n`).join(''),
      })
    )
      .toString()
      .split('\n')
    for (const [index, item] of changes.items.entries()) item.size = Number(sizes[index])
    return changes.items.every(({ size }) => Number.isSafeInteger(size)) ? changes : null
  } catch (error) {
    if (error instanceof GitError) return null
    throw error
  }
}

/** `:mode mode oid oid STATUS NUL path NUL`, one after the other. Sizes are not in it. */
function parseChanges(raw: Buffer): TreeChanges {
  const changes: TreeChanges = { removed: [], items: [] }
  const decoder = new TextDecoder('utf-8', { fatal: true })
  for (let start = 0; start < raw.length;) {
    const middle = raw.indexOf(0, start)
    const end = raw.indexOf(0, middle + 1)
    const path = decodePath(decoder, raw.subarray(middle + 1, end))
    const [, mode, , oid, status] = raw.toString('latin1', start, middle).split(' ')
    if (status === 'D') changes.removed.push(path)
    else changes.items.push(itemOf(path, mode!, oid!, 0))
    start = end + 1
  }
  return changes
}

function itemOf(path: string, mode: string, oid: string, size: number): TreeItem {
  if (mode === '160000') {
    throw new DployError('source.unsupported', `${JSON.stringify(path)} is a submodule, which dploy does not fetch`, {
      where: path,
      fix: 'Vendor its files, or build in CI and deploy with --directory',
    })
  }
  checkPath(path)
  if (!/^(?:100[0-7]{3}|120000)$/.test(mode))
    throw new DployError(
      'source.unsupported',
      `${JSON.stringify(path)} is of a kind that dploy does not know (mode ${mode})`,
      { where: path },
    )
  return { path, kind: mode === '120000' ? 'link' : 'file', executable: mode === '100755', oid, size }
}

function decodePath(decoder: InstanceType<typeof TextDecoder>, bytes: Buffer): string {
  try {
    return decoder.decode(bytes)
  } catch (cause) {
    const shown = bytes.toString('latin1')
    throw new DployError('source.unsafe', `The file name ${JSON.stringify(shown)} is not valid UTF-8`, {
      where: shown,
      cause,
    })
  }
}
