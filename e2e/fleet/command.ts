import { spawn } from 'node:child_process'

export interface CommandResult {
  /** The exit code, or null when a signal ended it. */
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface CommandOptions {
  stdin?: string | Buffer | undefined
  /** Milliseconds after which the command, and all that it started, is killed and an error is thrown. Default 30,000. */
  timeout?: number | undefined
  env?: NodeJS.ProcessEnv | undefined
  signal?: AbortSignal | undefined
}

/** Runs a program to its end and gives back what it printed. Throws only when it cannot start, takes too long or is aborted. */
export async function runCommand(
  file: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const { timeout = 30_000, env = process.env, signal } = options
  signal?.throwIfAborted()
  // In a group of its own: nsenter's child, and whatever a command started, must end with it.
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], env, detached: true })
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
  // A command that does not read its input closes it early; that is its right.
  child.stdin.on('error', () => {})
  child.stdin.end(options.stdin ?? '')

  let cause: unknown
  const end = (reason: unknown): void => {
    cause ??= reason
    if (child.pid !== undefined) killGroup(child.pid)
    // What left the group may hold these for ever.
    child.stdout.destroy()
    child.stderr.destroy()
  }
  const timer = setTimeout(
    () =>
      end(
        new Error(
          `took longer than ${timeout} ms and was killed: ${shown(file, args)}\n${Buffer.concat(stderr).toString()}`,
        ),
      ),
    timeout,
  )
  const abort = (): void => end(signal?.reason)
  signal?.addEventListener('abort', abort, { once: true })
  try {
    const [code, by] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, by) => resolve([code, by]))
    })
    if (cause !== undefined) throw cause
    return { code, signal: by, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() }
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
  }
}

/** As runCommand, but an exit code other than 0 is an error that shows what the command printed. Gives back its standard output. */
export async function mustRun(file: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await runCommand(file, args, options)
  if (result.code !== 0) {
    const how = result.code === null ? `was ended by ${result.signal}` : `ended with code ${result.code}`
    throw new Error(`${shown(file, args)} ${how}\n${result.stderr.trim() || result.stdout.trim()}`)
  }
  return result.stdout
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function shown(file: string, args: readonly string[]): string {
  return [file, ...args].map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : JSON.stringify(word))).join(' ')
}
