import { cp, lstat, mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { dirname, join, resolve, sep } from 'node:path'
import { runCommand } from '../../protocol/command-line.ts'
import type { BuildConfig } from '../../protocol/config.ts'
import { DployError } from '../../protocol/errors.ts'
import { git } from '../sources/git.ts'

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
 * stays until it is disposed of. Throws `build.failed`, `build.timeout`.
 */
export async function buildTree(options: BuildOptions): Promise<AsyncDisposable & { path: string }> {
  await mkdir(join(options.directory, 'builds'), { recursive: true, mode: 0o700 })
  const scratch = await mkdtemp(join(options.directory, 'builds', 'build-'))
  const path = join(scratch, 'tree')
  const caches = join(options.directory, 'build-caches', options.application)
  const dispose = async () => rm(scratch, { recursive: true, force: true, maxRetries: 3 })
  try {
    await mkdir(path)
    await checkOut(options, path, join(scratch, 'index'))
    await moveCaches(options.build.cache, caches, path)
    try {
      await runBuild(options, path)
    } finally {
      // A failed build keeps its caches too: what it downloaded is still worth having.
      if (options.build.cache.length > 0) await keepCaches(options.build, path, caches)
    }
    return { path, [Symbol.asyncDispose]: dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}

async function checkOut(options: BuildOptions, path: string, index: string): Promise<void> {
  const env = { GIT_DIR: options.mirror, GIT_WORK_TREE: path, GIT_INDEX_FILE: index }
  await git(['-c', 'core.autocrlf=false', '-c', 'core.symlinks=true', 'read-tree', options.tree], { env, cwd: path, signal: options.signal })
  await git(['-c', 'core.autocrlf=false', '-c', 'core.symlinks=true', 'checkout-index', '--all', '--force', '--quiet'], { env, cwd: path, signal: options.signal })
}

async function runBuild(options: BuildOptions, path: string): Promise<void> {
  const { build } = options
  let tail = ''
  try {
    const { code, signal } = await runCommand({
      command: build.command!,
      cwd: path,
      env: { PATH: process.env.PATH ?? '/usr/bin:/bin', HOME: homedir(), LANG: 'C.UTF-8', TMPDIR: tmpdir(), CI: 'true', ...options.env, ...build.variables },
      timeout: build.timeout,
      signal: options.signal,
      onOutput: (stream, text) => {
        tail = (tail + text).slice(-2_000)
        options.onOutput(stream, text)
      },
    })
    if (code === 0) return
    const lines = tail.trimEnd().split('\n').slice(-10).join('\n')
    throw new DployError('build.failed', `The build ended with ${signal ?? `code ${code}`}${lines === '' ? '' : `. It printed last:\n${lines}`}`)
  } catch (error) {
    if (error instanceof DployError && error.code === 'command.timeout') throw new DployError('build.timeout', error.message, { cause: error })
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

/** What is shipped of a cached folder is copied; hard links would let the next build write into what was shipped. */
async function keepCaches(build: BuildConfig, from: string, to: string): Promise<void> {
  for (const name of build.cache) {
    const source = inside(from, name)
    if (!(await there(source))) continue
    const target = inside(to, name)
    await rm(target, { recursive: true, force: true })
    await mkdir(dirname(target), { recursive: true })
    const shipped = build.ship === undefined || build.ship.some((path) => name === path || name.startsWith(`${path}/`) || path.startsWith(`${name}/`) || path === '.')
    if (shipped) await cp(source, target, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true })
    else await rename(source, target)
  }
}

async function there(path: string): Promise<boolean> {
  return lstat(path).then(() => true, () => false)
}

function inside(root: string, name: string): string {
  const path = resolve(root, name)
  if (path !== root && !path.startsWith(root + sep)) throw new DployError('path.unsafe', `${JSON.stringify(name)} leads out of the build directory`, { where: 'build.cache' })
  return path
}
