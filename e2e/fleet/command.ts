import { spawn } from 'node:child_process'

export interface CommandResult {
  /** The exit code; 128 + the signal's number stands nowhere here: a command ended by a signal has code null. */
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface CommandOptions {
  stdin?: string | Buffer | undefined
  /** Milliseconds after which the command is killed and an error is thrown. Default 30,000. */
  timeout?: number | undefined
  env?: NodeJS.ProcessEnv | undefined
  signal?: AbortSignal | undefined
}

/** Runs a program to its end and gives back what it printed. Throws only when it cannot start or takes too long. */
export async function runCommand(file: string, args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const timeout = options.timeout ?? 30_000
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], env: options.env ?? process.env, signal: options.signal })
  let late = false
  const timer = setTimeout(() => {
    late = true
    child.kill('SIGKILL')
  }, timeout)
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
  // A command that does not read its input closes it early; that is its right.
  child.stdin.on('error', () => {})
  child.stdin.end(options.stdin ?? '')
  try {
    const { code, signal } = await new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => resolve({ code, signal }))
    })
    const result = { code, signal, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() }
    if (late) throw new Error(`took longer than ${timeout} ms and was killed: ${shown(file, args)}\n${result.stderr}`)
    return result
  } finally {
    clearTimeout(timer)
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

function shown(file: string, args: readonly string[]): string {
  return [file, ...args].map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : JSON.stringify(word))).join(' ')
}
