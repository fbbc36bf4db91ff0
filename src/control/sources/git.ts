import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { DployError } from '../../protocol/errors.ts'

export interface GitOptions {
  cwd?: string | undefined
  signal?: AbortSignal | undefined
  input?: string | Uint8Array
  env?: Record<string, string>
  /** Called with chunks of standard output instead of collecting them. */
  onData?: (chunk: Buffer) => void
}

/**
 * Runs git with these arguments and answers its standard output. The person's credentials and ssh settings work; hooks,
 * the `ext::` transport and prompts do not. Rejects with GitError when git fails.
 */
export async function git(args: readonly string[], options: GitOptions = {}): Promise<Buffer> {
  const child = spawn(
    'git',
    [
      '-c',
      'core.hooksPath=/dev/null',
      '-c',
      'protocol.ext.allow=never',
      '-c',
      'gc.auto=0',
      '-c',
      'core.quotePath=false',
      ...args,
    ],
    {
      cwd: options.cwd,
      signal: options.signal,
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      env: {
        ...withoutGitVariables(process.env),
        GIT_TERMINAL_PROMPT: '0',
        GIT_OPTIONAL_LOCKS: '0',
        LC_ALL: 'C.UTF-8',
        ...options.env,
      },
    },
  )
  const output: Buffer[] = []
  let problem = ''
  child.stdout!.on('data', (chunk: Buffer) => (options.onData ? options.onData(chunk) : void output.push(chunk)))
  child.stderr!.on('data', (chunk: Buffer) => (problem = (problem + chunk.toString('utf8')).slice(-4_000)))
  if (options.input !== undefined) {
    child.stdin!.on('error', () => {})
    child.stdin!.end(options.input)
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      if (options.signal?.aborted) reject(options.signal.reason)
      else
        reject(
          error.code === 'ENOENT' && (options.cwd === undefined || existsSync(options.cwd))
            ? new DployError('source.unreachable', 'git is not installed here', { fix: 'Install git' })
            : error,
        )
    })
    child.once('close', resolve)
  })
  options.signal?.throwIfAborted()
  if (code !== 0) throw new GitError(args, problem.trim())
  return Buffer.concat(output)
}

/** git failed; `problem` is what it said. */
export class GitError extends Error {
  readonly problem: string

  constructor(args: readonly string[], problem: string) {
    super(`git ${args.find((arg) => !arg.startsWith('-')) ?? ''} failed: ${problem}`)
    this.name = 'GitError'
    this.problem = problem
  }
}

/** GIT_DIR and its like, which git sets for hooks, would lead to another repository. */
function withoutGitVariables(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const dropped = new Set([
    'GIT_DIR',
    'GIT_WORK_TREE',
    'GIT_INDEX_FILE',
    'GIT_OBJECT_DIRECTORY',
    'GIT_ALTERNATE_OBJECT_DIRECTORIES',
    'GIT_PREFIX',
    'GIT_COMMON_DIR',
    'GIT_NAMESPACE',
  ])
  return Object.fromEntries(Object.entries(env).filter(([name]) => !dropped.has(name)))
}
