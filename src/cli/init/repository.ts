import { readFileSync, realpathSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

/** The git repository around a directory. */
export interface Repository {
  root: string
  /** From the root to the directory; empty when it is the root. */
  inside: string
  /** The branch that people deploy: the remote's own, else the one that is checked out. */
  branch: string | null
}

/** The repository in which a directory stands; null if it stands in none. */
export function repositoryAround(directory: string): Repository | null {
  const start = realpathSync(directory)
  for (let root = start; ; root = dirname(root)) {
    if (statSync(join(root, '.git'), { throwIfNoEntry: false }) !== undefined)
      return { root, inside: relative(root, start), branch: branchOf(root) }
    if (dirname(root) === root) return null
  }
}

function branchOf(root: string): string | null {
  const text = (path: string) => {
    try {
      return readFileSync(join(root, '.git', path), 'utf8')
    } catch {
      return ''
    }
  }
  const remote = /^ref: refs\/remotes\/origin\/(\S+)/.exec(text('refs/remotes/origin/HEAD'))?.[1]
  return remote ?? /^ref: refs\/heads\/(\S+)/.exec(text('HEAD'))?.[1] ?? null
}
