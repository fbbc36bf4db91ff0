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

export interface RevisionTree {
  /** Names the whole content: the same tree is the same code, whatever commit it is in. */
  oid: string
  items: TreeItem[]
}

/**
 * The tree of a commit, or of one folder of it, whose paths then begin there. Throws `source.unsupported` for submodules
 * and git-lfs, `source.unsafe` for names that cannot be shipped, `source.revision_unknown` for a folder that is not there.
 */
export async function revisionTree(mirror: string, commit: string, subfolder: string | undefined, signal: AbortSignal): Promise<RevisionTree> {
  const name = subfolder === undefined ? `${commit}^{tree}` : `${commit}:${subfolder.replace(/^\.\/|\/+$/g, '')}`
  let oid: string
  let listing: Buffer
  try {
    oid = (await git(['rev-parse', '--verify', '--quiet', '--end-of-options', name], { cwd: mirror, signal })).toString().trim()
    listing = await git(['ls-tree', '-r', '-z', '-l', '--end-of-options', oid], { cwd: mirror, signal })
  } catch (error) {
    if (!(error instanceof GitError)) throw error
    throw new DployError('source.revision_unknown', subfolder === undefined ? `The tree of ${commit} cannot be read` : `There is no folder ${subfolder} in ${commit.slice(0, 7)}`, { where: 'source.subfolder', cause: error })
  }
  return { oid, items: parseListing(listing) }
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
