import { cp, lstat, mkdir, rename, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { dirname, join, resolve, sep } from 'node:path'
import { runCommand } from '../../protocol/command-line.ts'
import type { BuildConfig } from '../../protocol/config/config.ts'
import { DployError } from '../../protocol/errors.ts'
import { git, GitError } from '../sources/git.ts'
import { linkTargets } from '../sources/link-targets.ts'
import { treeItems, type TreeItem } from '../sources/revision-tree.ts'
import { refusePointers } from './blobs.ts'
import { CheckedOut } from './checked-out.ts'
import { scratchDirectory, scratchName } from './scratch.ts'
import { selection } from './selection.ts'

export interface BuildOptions {
  mirror: string
  /** The git tree to check out. */
  tree: string
  build: BuildConfig
  /** Given to the build as DPLOY_…. */
  env: Record<string, string>
  /** Where builds take place and caches are kept. */
  directory: string
  /** Names the application, for its caches. */
  application: string
  signal: AbortSignal
  onOutput(stream: 'stdout' | 'stderr', text: string): void
}

/**
 * Checks a tree out into a clean directory and runs the build command there, with a clean environment. What comes of it
 * stays until it is disposed of. Throws `build.failed`, `build.timeout`; `source.unsupported` and `source.unsafe` for a tree
 * that cannot be checked out whole.
 */
export async function buildTree(
  options: BuildOptions,
): Promise<AsyncDisposable & { path: string; checkedOut: CheckedOut }> {
  const scratch = join(scratchDirectory(join(options.directory, 'builds')), scratchName())
  const path = join(scratch, 'tree')
  const caches = join(options.directory, 'build-caches', options.application)
  const dispose = async () => rm(scratch, { recursive: true, force: true, maxRetries: 3 })
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
    const checkedOut = await CheckedOut.look(path, await checkOut(options, path, join(scratch, 'index')))
    await moveCaches(options.build.cache, caches, path)
    try {
      await runBuild(options, path)
    } finally {
      // A failed build keeps its caches too: what it downloaded is still worth having.
      if (options.build.cache.length > 0) await keepCaches(options.build, path, caches)
    }
    return { path, checkedOut, [Symbol.asyncDispose]: dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}

async function checkOut(options: BuildOptions, path: string, index: string): Promise<TreeItem[]> {
  const { mirror, tree, signal } = options
  const items = await treeItems(mirror, tree, signal)
  const { ships } = selection(undefined, options.build.leave_out)
  await refusePointers(
    mirror,
    items.filter((item) => ships(item.path)),
    signal,
  )
  await linkTargets(
    mirror,
    items.filter(({ kind }) => kind === 'link'),
    signal,
  )
  const run = { env: { GIT_DIR: mirror, GIT_WORK_TREE: path, GIT_INDEX_FILE: index }, cwd: path, signal }
  const settings = ['-c', 'core.autocrlf=false', '-c', 'core.symlinks=true']
  try {
    await git([...settings, 'read-tree', tree], run)
    await git([...settings, 'checkout-index', '--all', '--force', '--quiet'], run)
    return items
  } catch (error) {
    if (!(error instanceof GitError)) throw error
    throw new DployError('source.unsafe', `The tree cannot be checked out: ${error.problem}`, { cause: error })
  }
}

async function runBuild(options: BuildOptions, path: string): Promise<void> {
  const { build } = options
  let tail = ''
  try {
    const { code, signal } = await runCommand({
      command: build.command!,
      cwd: path,
      env: {
        PATH: process.env.PATH ?? '/usr/bin:/bin',
        HOME: homedir(),
        LANG: 'C.UTF-8',
        TMPDIR: tmpdir(),
        CI: 'true',
        ...options.env,
        ...build.variables,
      },
      timeout: build.timeout,
      signal: options.signal,
      endGroup: true,
      onOutput: (stream, text) => {
        tail = (tail + text).slice(-2_000)
        options.onOutput(stream, text)
      },
    })
    if (code === 0) return
    const lines = tail.trimEnd().split('\n').slice(-10).join('\n')
    throw new DployError(
      'build.failed',
      `The build ended with ${signal ?? `code ${code}`}${lines === '' ? '' : `. It printed last:\n${lines}`}`,
    )
  } catch (error) {
    if (error instanceof DployError && error.code === 'command.timeout')
      throw new DployError('build.timeout', error.message, { cause: error })
    throw error
  }
}

async function moveCaches(cache: readonly string[], from: string, to: string): Promise<void> {
  for (const name of cache) {
    const target = inside(to, name)
    if (await there(target)) continue
    await mkdir(dirname(target), { recursive: true })
    await rename(inside(from, name), target).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
    })
  }
}

/**
 * What is shipped of a cached folder is copied; hard links would let the next build write into what was shipped. Of builds
 * at the same time, the last to end is the one whose caches are kept.
 */
async function keepCaches(build: BuildConfig, from: string, to: string): Promise<void> {
  for (const name of build.cache) {
    const source = inside(from, name)
    if (!(await there(source))) continue
    const target = inside(to, name)
    await mkdir(dirname(target), { recursive: true })
    const fresh = `${target}.${scratchName()}`
    const shipped =
      build.ship === undefined ||
      build.ship.some(
        (path) => name === path || name.startsWith(`${path}/`) || path.startsWith(`${name}/`) || path === '.',
      )
    try {
      if (shipped) await cp(source, fresh, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true })
      else await rename(source, fresh)
      await rm(target, { recursive: true, force: true })
      await rename(fresh, target)
    } catch (error) {
      await rm(fresh, { recursive: true, force: true })
      const { code } = error as NodeJS.ErrnoException
      // Another build of the application has put its own there.
      if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error
    }
  }
}

async function there(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  )
}

function inside(root: string, name: string): string {
  const path = resolve(root, name)
  if (path !== root && !path.startsWith(root + sep))
    throw new DployError('path.unsafe', `${JSON.stringify(name)} leads out of the build directory`, {
      where: 'build.cache',
    })
  return path
}
