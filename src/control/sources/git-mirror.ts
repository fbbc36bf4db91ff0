import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { isAbsolute, join, resolve } from 'node:path'
import { distance } from 'fastest-levenshtein'
import { DployError } from '../../protocol/errors.ts'
import type { Revision } from '../../protocol/release-spec.ts'
import { git, GitError } from './git.ts'

/** Fields of a commit, each ended by NUL, as `git log --format` writes them. */
const format = '%H%x00%s%x00%an%x00%ct%x00'

/** A bare mirror of a repository: what is deployed is read from here, whatever happens to the original meanwhile. */
export class GitMirror {
  readonly path: string
  readonly #url: string
  #fetching: Promise<void> | null = null

  /** `repository` is a git URL, or a path (relative to `base`). Throws `source.unreachable` for a path without a base. */
  constructor(mirrors: string, repository: string, base: string | null) {
    this.#url = resolveRepository(repository, base)
    this.path = join(mirrors, createHash('sha256').update(this.#url).digest('hex').slice(0, 24))
  }

  /**
   * Finds a commit by branch, tag, or (short) id; without a name, by `branch`, or else the source's HEAD. Fetches, unless
   * the name is a whole commit id that is here. Throws `source.unreachable`, `source.revision_unknown`.
   */
  async resolve(name: string | null, branch: string | null, signal: AbortSignal): Promise<Revision> {
    const wanted = name ?? branch
    if (wanted !== null && /^[0-9a-f]{40}$/.test(wanted) && existsSync(this.path)) {
      const known = await this.#revision(wanted, wanted, signal).catch(() => null)
      if (known) return known
    }
    await this.fetch(signal)
    if (wanted === null) return this.#revision('refs/dploy/HEAD', null, signal)
    for (const candidate of candidates(wanted)) {
      if ((await this.#commit(candidate, signal)) !== null) return this.#revision(candidate, wanted, signal)
    }
    const near = await this.#nearest(wanted, signal)
    throw new DployError('source.revision_unknown', `There is no branch, tag or commit ${JSON.stringify(wanted)} in ${this.#url}${near === null ? '' : `; did you mean ${near}?`}`, { where: this.#url })
  }

  /** Brings the mirror up to date. Calls at the same time share one fetch. */
  fetch(signal: AbortSignal): Promise<void> {
    this.#fetching ??= this.#fetch(signal).finally(() => (this.#fetching = null))
    return this.#fetching
  }

  /** The commits that `to` has and `from` has not, the newest first, at most `limit`. */
  async between(from: string, to: string, limit: number, signal: AbortSignal): Promise<Revision[]> {
    return this.#log([`--max-count=${limit}`, '--end-of-options', `${from}..${to}`], signal)
  }

  async #fetch(signal: AbortSignal): Promise<void> {
    try {
      await this.#create(signal)
      // Everything under a name of our own, so that a branch cannot take the place of a tag, nor of HEAD.
      await git(['fetch', '--quiet', '--prune', '--no-tags', '--no-write-fetch-head', '--no-auto-gc', '--no-recurse-submodules', '--end-of-options', this.#url, '+HEAD:refs/dploy/HEAD', '+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*'], { cwd: this.path, signal })
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof GitError)) throw error
      throw new DployError('source.unreachable', `The repository ${this.#url} cannot be read: ${error.problem.split('\n').at(-1)}`, { where: this.#url, fix: `Try: git ls-remote ${this.#url}`, cause: error })
    }
  }

  async #create(signal: AbortSignal): Promise<void> {
    if (existsSync(join(this.path, 'HEAD'))) return
    const scratch = `${this.path}.new-${process.pid}`
    await rm(scratch, { recursive: true, force: true })
    await mkdir(scratch, { recursive: true, mode: 0o700 })
    await git(['init', '--quiet', '--bare', '--template=', scratch], { signal })
    await rename(scratch, this.path).catch(async (error: NodeJS.ErrnoException) => {
      await rm(scratch, { recursive: true, force: true })
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
  }

  async #commit(name: string, signal: AbortSignal): Promise<string | null> {
    try {
      return (await git(['rev-parse', '--verify', '--quiet', '--end-of-options', `${name}^{commit}`], { cwd: this.path, signal })).toString().trim()
    } catch (error) {
      if (error instanceof GitError) return null
      throw error
    }
  }

  async #revision(name: string, asked: string | null, signal: AbortSignal): Promise<Revision> {
    const commit = await this.#commit(name, signal)
    const found = commit === null ? undefined : (await this.#log(['--max-count=1', '--end-of-options', commit], signal))[0]
    if (!found) throw new DployError('source.revision_unknown', `${this.#url} has no commit yet`, { where: this.#url, fix: 'Commit something there, then deploy again' })
    return { ...found, ref: asked }
  }

  async #log(args: string[], signal: AbortSignal): Promise<Revision[]> {
    const text = (await git(['log', '--no-show-signature', `--format=${format}`, ...args], { cwd: this.path, signal })).toString('utf8')
    const fields = text.split('\0')
    const revisions: Revision[] = []
    for (let index = 0; index + 3 < fields.length; index += 4) {
      revisions.push({ commit: fields[index]!.trim(), ref: null, subject: fields[index + 1]!, author: fields[index + 2]!, time: Number(fields[index + 3]) * 1000 })
    }
    return revisions
  }

  async #nearest(wanted: string, signal: AbortSignal): Promise<string | null> {
    const names = (await git(['for-each-ref', '--format=%(refname:short)', 'refs/heads', 'refs/tags'], { cwd: this.path, signal })).toString('utf8').split('\n').filter(Boolean)
    const best = names.map((name) => ({ name, far: distance(name, wanted) })).sort((a, b) => a.far - b.far)[0]
    return best && best.far <= Math.max(2, wanted.length / 3) ? best.name : null
  }
}

/** What a name may mean, in order. Full names, so that nothing in it can be taken for an option or for git's own syntax. */
function candidates(name: string): string[] {
  const plain = !/[\0-\x20~^:?*[\\\x7f]|\.\.|@\{/.test(name)
  return [...(plain ? [`refs/heads/${name}`, `refs/tags/${name}`] : []), ...(/^[0-9a-f]{4,40}$/.test(name) ? [name] : [])]
}

function resolveRepository(repository: string, base: string | null): string {
  const isUrl = /^[a-z][a-z0-9+.-]*:\/\//i.test(repository) || /^[^/\s-][^/\s]*@[^/\s:]+:/.test(repository) || /^[A-Za-z0-9][A-Za-z0-9.-]*:[^/\\]/.test(repository)
  if (isUrl) return repository
  if (isAbsolute(repository)) return resolve(repository)
  if (base === null) throw new DployError('source.unreachable', `The source ${JSON.stringify(repository)} is a path, and this control plane does not stand on the machine where it leads`, { fix: 'Give source: a git URL in dploy.yml' })
  return resolve(base, repository)
}
