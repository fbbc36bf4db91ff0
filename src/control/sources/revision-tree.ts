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

/** More changes than these are not worth asking for one by one. */
const maxChanges = 500

/**
 * Names the whole content of a commit, or of one folder of it: the same tree is the same code, whatever commit it is in.
 * Throws `source.revision_unknown` for a folder that is not there.
 */
export async function treeOf(mirror: string, commit: string, subfolder: string | undefined, signal: AbortSignal): Promise<string> {
  const name = subfolder === undefined ? `${commit}^{tree}` : `${commit}:${subfolder.replace(/^\.\/|\/+$/g, '')}`
  try {
    const oid = (await git(['rev-parse', '--verify', '--quiet', '--end-of-options', name], { cwd: mirror, signal })).toString().trim()
    // A file has a name of that form too.
    if ((await git(['cat-file', '-t', oid], { cwd: mirror, signal })).toString().trim() !== 'tree') throw new DployError('source.revision_unknown', `${subfolder} in ${commit.slice(0, 7)} is no folder`, { where: 'source.subfolder' })
    return oid
  } catch (error) {
    if (!(error instanceof GitError)) throw error
    throw new DployError('source.revision_unknown', subfolder === undefined ? `The tree of ${commit} cannot be read` : `There is no folder ${subfolder} in ${commit.slice(0, 7)}`, { where: 'source.subfolder', cause: error })
  }
}

/**
 * What is in a tree; paths begin at it. Throws `source.unsupported` for submodules, `source.unsafe` for names that cannot
 * be shipped.
 */
export async function treeItems(mirror: string, tree: string, signal: AbortSignal): Promise<TreeItem[]> {
  return parseListing(await git(['ls-tree', '-r', '-z', '-l', '--end-of-options', tree], { cwd: mirror, signal }))
}

/** What has changed between two trees; null when `from` is not here, or when it is so much that all of it is read sooner. Throws as `treeItems`. */
export async function treeChanges(mirror: string, from: string, to: string, signal: AbortSignal): Promise<TreeChanges | null> {
  let raw: Buffer
  try {
    raw = await git(['diff-tree', '-r', '-z', '--no-renames', '--end-of-options', from, to], { cwd: mirror, signal })
  } catch (error) {
    if (error instanceof GitError) return null
    throw error
  }
  // `:mode mode oid oid STATUS NUL path NUL`, one after the other.
  const removed: string[] = []
  const changed: string[] = []
  const decoder = new TextDecoder('utf-8', { fatal: true })
  for (let start = 0; start < raw.length; ) {
    const middle = raw.indexOf(0, start)
    const end = raw.indexOf(0, middle + 1)
    const path = decodePath(decoder, raw.subarray(middle + 1, end))
    if (raw[middle - 1] === 'D'.charCodeAt(0)) removed.push(path)
    else changed.push(path)
    start = end + 1
  }
  if (changed.length > maxChanges) return null
  if (changed.length === 0) return { removed, items: [] }
  return { removed, items: parseListing(await git(['ls-tree', '-z', '-l', '--end-of-options', to, ...changed], { cwd: mirror, signal })) }
}

function parseListing(listing: Buffer): TreeItem[] {
  const items: TreeItem[] = []
  const decoder = new TextDecoder('utf-8', { fatal: true })
  for (let start = 0; start < listing.length; ) {
    const end = listing.indexOf(0, start)
    const tab = listing.indexOf(9, start)
    const [mode, type, oid, size] = listing.toString('latin1', start, tab).split(/ +/)
    const path = decodePath(decoder, listing.subarray(tab + 1, end))
    start = end + 1
    if (mode === '160000') {
      throw new DployError('source.unsupported', `${JSON.stringify(path)} is a submodule, which dploy does not fetch`, { where: path, fix: 'Vendor its files, or build in CI and deploy with --directory' })
    }
    checkPath(path)
    if (type !== 'blob') throw new DployError('source.unsupported', `${JSON.stringify(path)} is of a kind that dploy does not know (mode ${mode})`, { where: path })
    items.push({ path, kind: mode === '120000' ? 'link' : 'file', executable: mode === '100755', oid: oid!, size: Number(size) })
  }
  return items
}

function decodePath(decoder: InstanceType<typeof TextDecoder>, bytes: Buffer): string {
  try {
    return decoder.decode(bytes)
  } catch (cause) {
    const shown = bytes.toString('latin1')
    throw new DployError('source.unsafe', `The file name ${JSON.stringify(shown)} is not valid UTF-8`, { where: shown, cause })
  }
}
