import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { distance } from 'fastest-levenshtein'
import { DployError } from '../../protocol/errors.ts'
import type { Revision } from '../../protocol/release-spec.ts'
import { git, GitError } from './git.ts'
import { searchArguments } from './history.ts'
import { repositoryAddress, type RepositoryAddress } from './repository-address.ts'
import { SharedWork } from './shared-work.ts'

/** Fields of a commit, each ended by NUL, as `git log --format` writes them. */
const format = '%H%x00%T%x00%s%x00%an%x00%ct%x00'
/** Of so many commits that were looked at the tree is remembered. */
const keepTrees = 100
const refspecs = ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*']
/** How long another process may keep a lock of the mirror: git holds them for moments. A killed one leaves them. Milliseconds. */
const lockTimeout = 5_000

/** A bare mirror of a repository: what is deployed is read from here, whatever happens to the original meanwhile. */
export class GitMirror {
  readonly path: string
  readonly #address: RepositoryAddress
  readonly #url: string
  /** A fetch that has yet to begin, and the end of those that have begun. */
  #next: SharedWork<void> | null = null
  #begun: Promise<unknown> = Promise.resolve()
  readonly #trees = new Map<string, string>()

  /** `repository` is a git URL, or a path (relative to `base`). Throws as `repositoryAddress`. */
  constructor(mirrors: string, repository: string, base: string | null) {
    this.#address = repositoryAddress(repository, base)
    this.#url = this.#address.url
    this.path = join(mirrors, createHash('sha256').update(this.#url).digest('hex').slice(0, 24))
  }

  /**
   * Finds a commit by branch, tag, or (short) id; without a name, by `branch`, or else the source's HEAD. Fetches, unless
   * the name is a whole commit id that is here. Throws `source.unreachable`, `source.revision_unknown`.
   */
  async resolve(name: string | null, branch: string | null, signal: AbortSignal): Promise<Revision> {
    signal.throwIfAborted()
    const wanted = name ?? branch
    if (wanted !== null && /^[0-9a-f]{40}$/.test(wanted) && existsSync(this.path)) {
      const known = await this.#revision(wanted, wanted, signal).catch(() => null)
      if (known) return known
    }
    await this.fetch(signal)
    if (wanted === null) return this.#revision('refs/dploy/HEAD', null, signal)
    for (const candidate of candidates(wanted)) {
      const found = await this.#find(candidate, signal)
      if (found !== null) return { ...found, ref: wanted }
    }
    if (await this.#isAmbiguous(wanted, signal))
      throw new DployError(
        'source.revision_unknown',
        `${JSON.stringify(wanted)} is the beginning of several commits in ${this.#url}`,
        { where: this.#url, fix: 'Give more digits of the commit' },
      )
    const near = await this.#nearest(wanted, signal)
    throw new DployError(
      'source.revision_unknown',
      `There is no branch, tag or commit ${JSON.stringify(wanted)} in ${this.#url}${near === null ? '' : `; did you mean ${near}?`}`,
      { where: this.#url },
    )
  }

  /**
   * Brings the mirror up to date. Calls at the same time share a fetch, but only one that has yet to begin: one that runs
   * may have missed what was pushed before the call. Throws `source.unreachable`.
   */
  fetch(signal: AbortSignal): Promise<void> {
    if (this.#next === null || this.#next.abandoned) {
      const before = this.#begun
      const work: SharedWork<void> = new SharedWork(async (all) => {
        await Promise.race([before, new Promise((resolve) => all.addEventListener('abort', resolve, { once: true }))])
        if (this.#next === work) this.#next = null
        all.throwIfAborted()
        await this.#fetch(all)
      })
      this.#next = work
      this.#begun = Promise.all([before, work.ended])
    }
    return this.#next.join(signal)
  }

  /** The whole tree of a commit that was looked at; undefined where that is not remembered. */
  treeOf(commit: string): string | undefined {
    return this.#trees.get(commit)
  }

  /** The commits that `to` has and `from` has not, the newest first, at most `limit`. */
  async between(from: string, to: string, limit: number, signal: AbortSignal): Promise<Revision[]> {
    return this.#log([`--max-count=${limit}`, '--end-of-options', `${from}..${to}`], signal)
  }

  /** Commits whose message has the text, in all branches and tags, the newest first; without a text, those of `start`. */
  search(text: string, start: string, limit: number, signal: AbortSignal): Promise<Revision[]> {
    return this.#log(searchArguments(text, start, limit), signal)
  }

  async #fetch(signal: AbortSignal): Promise<void> {
    try {
      await this.#create(signal)
      // Everything under a name of our own, so that a branch cannot take the place of a tag, nor of HEAD.
      await this.#fetchRefs(['+HEAD:refs/dploy/HEAD', ...refspecs], signal).catch(async (error) => {
        if (!(error instanceof GitError) || !error.problem.includes("couldn't find remote ref HEAD")) throw error
        await this.#fetchRefs(refspecs, signal)
        await git(['update-ref', '-d', 'refs/dploy/HEAD'], { cwd: this.path, signal })
      })
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof GitError)) throw error
      throw new DployError(
        'source.unreachable',
        `The repository ${this.#url} cannot be read: ${reasonOf(error.problem)}`,
        { where: this.#url, fix: `Try: git ls-remote ${this.#url}`, cause: error },
      )
    }
  }

  /** Waits for locks of other processes that use the mirror, and removes those that a killed one left. */
  async #fetchRefs(wanted: readonly string[], signal: AbortSignal): Promise<void> {
    const { args, env } = this.#address
    for (const deadline = Date.now() + lockTimeout; ; await sleep(50, undefined, { signal })) {
      try {
        await git(
          [
            ...args,
            'fetch',
            '--quiet',
            '--prune',
            '--no-tags',
            '--update-shallow',
            '--no-write-fetch-head',
            '--no-auto-gc',
            '--no-recurse-submodules',
            '--end-of-options',
            this.#url,
            ...wanted,
          ],
          { cwd: this.path, signal, env },
        )
        return
      } catch (error) {
        if (
          !(error instanceof GitError) ||
          !/\.lock': File exists|cannot lock ref/.test(error.problem) ||
          Date.now() > deadline
        )
          throw error
        const lock = /'([^']+\.lock)': File exists/.exec(error.problem)?.[1]
        const since = lock?.startsWith(this.path + sep) ? await stat(lock).catch(() => null) : null
        if (since !== null && Date.now() - since.mtimeMs > lockTimeout) await rm(lock!, { force: true })
      }
    }
  }

  async #create(signal: AbortSignal): Promise<void> {
    if (existsSync(join(this.path, 'HEAD'))) return
    const scratch = `${this.path}.new-${process.pid}-${randomBytes(4).toString('hex')}`
    await mkdir(scratch, { recursive: true, mode: 0o700 })
    await git(['init', '--quiet', '--bare', '--template=', scratch], { signal })
    await rename(scratch, this.path).catch(async (error: NodeJS.ErrnoException) => {
      await rm(scratch, { recursive: true, force: true })
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
  }

  /** The commit of this name; null if there is none. One call of git: each costs more than what it does. */
  async #find(name: string, signal: AbortSignal): Promise<Revision | null> {
    try {
      return (await this.#log(['--max-count=1', '--end-of-options', `${name}^{commit}`, '--'], signal))[0] ?? null
    } catch (error) {
      if (error instanceof GitError) return null
      throw error
    }
  }

  async #revision(name: string, asked: string | null, signal: AbortSignal): Promise<Revision> {
    const found = await this.#find(name, signal)
    if (!found) throw await this.#withoutHead(signal)
    return { ...found, ref: asked }
  }

  async #withoutHead(signal: AbortSignal): Promise<DployError> {
    if ((await this.#names(signal)).length === 0)
      return new DployError('source.revision_unknown', `${this.#url} has no commit yet`, {
        where: this.#url,
        fix: 'Commit something there, then deploy again',
      })
    return new DployError('source.revision_unknown', `The HEAD of ${this.#url} names a branch that is not there`, {
      where: this.#url,
      fix: 'Name a branch under environments.NAME.branch in dploy.yml',
    })
  }

  async #log(args: string[], signal: AbortSignal): Promise<Revision[]> {
    const text = (
      await git(['log', '--no-show-signature', '--encoding=UTF-8', `--format=${format}`, ...args], {
        cwd: this.path,
        signal,
      })
    ).toString('utf8')
    const fields = text.split('\0')
    const revisions: Revision[] = []
    for (let index = 0; index + 4 < fields.length; index += 5) {
      const commit = fields[index]!.trim()
      revisions.push({
        commit,
        ref: null,
        subject: fields[index + 2]!,
        author: fields[index + 3]!,
        time: Number(fields[index + 4]) * 1000,
      })
      this.#trees.set(commit, fields[index + 1]!)
    }
    for (const commit of this.#trees.keys()) if (this.#trees.size > keepTrees) this.#trees.delete(commit)
    return revisions
  }

  async #nearest(wanted: string, signal: AbortSignal): Promise<string | null> {
    const best = (await this.#names(signal))
      .map((name) => ({ name, far: distance(name, wanted) }))
      .sort((a, b) => a.far - b.far)[0]
    return best && best.far <= Math.max(2, wanted.length / 3) ? best.name : null
  }

  /** All branches and tags. */
  async #names(signal: AbortSignal): Promise<string[]> {
    return (
      await git(['for-each-ref', '--format=%(refname:lstrip=2)', 'refs/heads', 'refs/tags'], { cwd: this.path, signal })
    )
      .toString('utf8')
      .split('\n')
      .filter(Boolean)
  }

  async #isAmbiguous(name: string, signal: AbortSignal): Promise<boolean> {
    if (!isCommitId(name)) return false
    const objects = await git(['rev-parse', `--disambiguate=${name.toLowerCase()}`], { cwd: this.path, signal })
    const kinds = await git(['cat-file', '--batch-check=%(objecttype)'], { cwd: this.path, signal, input: objects })
    return (
      kinds
        .toString()
        .split('\n')
        .filter((kind) => kind === 'commit').length > 1
    )
  }
}

/** What a name may mean, in order. Full names, so that nothing in it can be taken for an option or for git's own syntax. */
function candidates(name: string): string[] {
  const plain = !/[\0-\x20~^:?*[\\\x7f]|\.\.|@\{/.test(name)
  return [
    ...(plain ? [`refs/heads/${name}`, `refs/tags/${name}`] : []),
    ...(isCommitId(name) ? [name.toLowerCase()] : []),
  ]
}

/** A whole commit id, or the beginning of one. */
function isCommitId(name: string): boolean {
  return /^[0-9a-f]{4,40}$/i.test(name)
}

/** The line that says why, out of all that git and ssh say. */
function reasonOf(problem: string): string {
  const lines = problem
    .split('\n')
    .map((line) => line.trim())
    .filter(
      (line) =>
        line !== '' &&
        !/^(?:fatal: Could not read from remote repository\.|Please make sure you have the correct access rights|and the repository exists\.)$/.test(
          line,
        ),
    )
  return lines.find((line) => line.startsWith('fatal:')) ?? lines.at(-1) ?? 'git gave no reason'
}
