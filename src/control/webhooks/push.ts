/** What a service tells of a push, in the same form for all of them. */
export interface Push {
  repository: {
    /** Under which it is cloned, as far as the service says. */
    urls: string[]
    /** `owner/name`, for services that tell no address to clone from. */
    path: string | null
    /** For people. */
    name: string
    /** Deployed where an environment names no branch; null: not told. */
    defaultBranch: string | null
  }
  /** The branches that have a new commit. Never empty. */
  branches: { name: string; commit: string }[]
  /** Who pushed, as the service calls them. */
  by: string
  /** Who had it worked through once more: they asked for what it starts, and do not approve it. */
  again?: { by: string; identity: string }
}

/** What a message says, once its signature was found right. */
export type Message = { push: Push } | { nothing: string }

const branchPrefix = 'refs/heads/'

/** The branch of a full reference; null: it is a tag, or something else. */
export function branchOf(ref: string): string | null {
  return ref.startsWith(branchPrefix) && ref.length > branchPrefix.length ? ref.slice(branchPrefix.length) : null
}

/** Git's name for no commit: 40 zeros, or 64 in repositories that use SHA-256. */
export function isNoCommit(commit: string): boolean {
  return /^(?:0{40}|0{64})$/.test(commit)
}
