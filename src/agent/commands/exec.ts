import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { endGroup, shellText, signalGroup, type SignalGroup } from '../../protocol/command-line.ts'
import type { PersonCommand, TerminalSize } from '../../protocol/command-messages.ts'
import { formatDuration } from '../../protocol/duration.ts'
import { DployError } from '../../protocol/errors.ts'
import { accountOf, asUser, type Program } from './as-user.ts'
import type { Session } from './session.ts'
import { asSudoUser, refused, SudoWords } from './sudo.ts'
import { resizeProgram, runQuietly, terminalEnvironment, terminalOf, terminalProgram } from './terminal.ts'

/** Between SIGINT, SIGTERM and SIGKILL. Milliseconds. */
const grace = 2_000
/** How long output is still awaited after the command has ended, while something that it started holds the pipe open. Milliseconds. */
const quiet = 200

export interface ExecOptions {
  /** Null: the user's shell in a terminal. */
  command: PersonCommand | null
  terminal: (TerminalSize & { kind: string }) | null
  /** Where it runs; in `fallback` if there is no such directory. */
  cwd: string
  fallback: string
  env: Readonly<Record<string, string>>
  user: string | undefined
  sudo: boolean
  /** Milliseconds; null: any time. */
  timeout: number | null
  session: Session
  signal: AbortSignal
  /** Resolves when there is room for more. */
  emit(stream: 'stdout' | 'stderr', bytes: Uint8Array): Promise<void>
}

export interface ExecResult {
  /** Null if a signal ended it. 126 and 127 as a shell says it: not executable, not there. */
  code: number | null
  signal: string | null
  ms: number
}

/**
 * Runs a person's command in a process group of its own until it ends, and all it printed was sent. Reads its output only
 * as fast as the session's reader does. Throws `command.timeout`, or the signal's reason, after the whole group was ended; `server.no_sudo`.
 */
export async function runExec(options: ExecOptions): Promise<ExecResult> {
  const { session, signal } = options
  signal.throwIfAborted()
  const began = performance.now()
  const cwd = directoryOr(options.cwd, options.fallback)
  const { terminal } = options
  const { file, args, env } = terminal
    ? terminalOfUser(terminal, options)
    : asUser(programOf(options.command), options.env, options)
  const child = spawn(file, args, { cwd, env, detached: true, stdio: [terminal ? 'pipe' : 'ignore', 'pipe', 'pipe'] })
  if (terminal) takeInput(child, options)
  // A terminal ends with the program that made it, whoever runs in it.
  const otherUser = file === 'sudo' ? (options.user ?? 'root') : null
  const send = otherUser === null ? signalGroup : asSudoUser(otherUser)
  const words = new SudoWords()
  const exited = new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, ended) => resolve({ code, signal: ended }))
  })
  exited.catch(() => {})
  const stop = Promise.withResolvers<never>()
  stop.promise.catch(() => {})
  const abort = () => stop.reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  const late = () =>
    stop.reject(
      new DployError('command.timeout', `It did not end within ${formatDuration(options.timeout!)}`, {
        fix: 'Give it longer: --timeout',
      }),
    )
  const timer = options.timeout === null ? null : setTimeout(late, options.timeout)
  let interrupted: Promise<unknown> | null = null
  session.onInterrupt = () => void (interrupted ??= interruptGroup(child, exited, send))
  const output = readOutput(
    child,
    otherUser === null
      ? options
      : { ...options, emit: (stream, bytes) => (words.hear(stream, bytes), options.emit(stream, bytes)) },
  )
  try {
    const result = await Promise.race([exited, stop.promise])
    await interrupted
    await Promise.race([output.finished(), stop.promise])
    if (otherUser !== null) words.check(result.code, otherUser)
    return { ...result, ms: performance.now() - began }
  } catch (error) {
    if (child.pid === undefined) return await notStarted(error as NodeJS.ErrnoException, file, options, began)
    // Without the program that made it a terminal is hung up, which tells everything in it. script(1) would wait for a shell, which ignores SIGTERM.
    await endGroup(child.pid, terminal ? 'SIGKILL' : 'SIGTERM', grace, send)
    throw error
  } finally {
    if (timer) clearTimeout(timer)
    signal.removeEventListener('abort', abort)
    output.stop()
  }
}

/** The program that a command is: one line goes to `sh -c` as a whole. */
function programOf(command: PersonCommand | null): Program {
  if (!command) throw new DployError('protocol.invalid', 'A command or a terminal is needed')
  return 'line' in command ? { file: '/bin/sh', args: ['-c', shellText(command.line)] } : command
}

/** The user's shell in a terminal. Who is not root reaches another user by sudo within it, so that the terminal stays their own. */
function terminalOfUser(
  terminal: TerminalSize & { kind: string },
  { user, sudo, env }: ExecOptions,
): Program & { env: Record<string, string> } {
  const self = process.getuid?.() ?? 0
  const wanted = user ?? (sudo ? 'root' : undefined)
  const account = accountOf(wanted ?? self)
  if (wanted !== undefined && !account)
    throw new DployError('server.user_unknown', `There is no user ${wanted} on this server`)
  const bySudo = self !== 0 && wanted !== undefined && account?.uid !== self
  const shell = bySudo ? '/bin/sh' : (account?.shell ?? '/bin/sh')
  const program = asUser(terminalProgram(), env, bySudo ? { user: undefined, sudo: false } : { user: wanted, sudo })
  return { ...program, env: { ...program.env, ...terminalEnvironment(terminal, shell, bySudo ? wanted : undefined) } }
}

/** Takes what is typed, and the terminal's size. */
function takeInput(child: ChildProcess, options: ExecOptions): void {
  const { session } = options
  const input = child.stdin!
  input.on('error', () => {})
  session.onInput = (bytes) =>
    input.destroyed || input.write(bytes)
      ? Promise.resolve()
      : Promise.race([once(input, 'drain'), once(input, 'close')]).then(() => {})
  session.onEnd = () => void input.end()
  // One after the other: of two sizes, the later is to stay.
  let turn = Promise.resolve()
  session.onResize = (size) => {
    turn = turn.then(async () => {
      const device = child.pid === undefined ? null : terminalOf(child.pid)
      if (device === null) return
      await runQuietly(resizeProgram(device, size), options.env)
    })
  }
}

function readOutput(child: ChildProcess, options: ExecOptions): { finished(): Promise<void>; stop(): void } {
  const { session, signal } = options
  const stopped = new AbortController()
  const until = AbortSignal.any([signal, stopped.signal])
  let heard = performance.now()
  let sending = 0
  const read = async (stream: Readable, name: 'stdout' | 'stderr') => {
    for await (const chunk of stream) {
      sending++
      await session.take((chunk as Buffer).length, until)
      await options.emit(name, chunk as Buffer)
      sending--
      heard = performance.now()
    }
  }
  const closed = Promise.allSettled([read(child.stdout!, 'stdout'), read(child.stderr!, 'stderr')])
  return {
    async finished() {
      const from = performance.now()
      for (let open = true; open;) {
        open = await Promise.race([
          closed.then(() => false),
          new Promise<true>((resolve) => setTimeout(resolve, 20, true)),
        ])
        if (sending === 0 && performance.now() - Math.max(from, heard) > quiet) return
      }
    },
    stop() {
      stopped.abort(new DployError('deployment.cancelled', 'It has ended'))
      child.stdout!.destroy()
      child.stderr!.destroy()
    },
  }
}

/** As Ctrl-C does; then whatever of the group did not end by it, such as what a shell runs in the background. */
async function interruptGroup(child: ChildProcess, exited: Promise<unknown>, send: SignalGroup): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  try {
    if (!(await send(child.pid, 'SIGINT'))) return
  } catch {
    return
  }
  await Promise.race([exited, new Promise((resolve) => setTimeout(resolve, grace).unref())])
  await endGroup(child.pid, 'SIGTERM', grace, send)
}

async function notStarted(
  error: NodeJS.ErrnoException,
  file: string,
  options: ExecOptions,
  began: number,
): Promise<ExecResult> {
  if (error.code !== 'ENOENT' && error.code !== 'EACCES') throw error
  if (file === 'sudo') throw refused(options.user ?? 'root', 'there is no sudo on this server')
  await options.emit(
    'stderr',
    Buffer.from(`dploy: ${file}: ${error.code === 'ENOENT' ? 'there is no such program' : 'it cannot be executed'}\n`),
  )
  return { code: error.code === 'ENOENT' ? 127 : 126, signal: null, ms: performance.now() - began }
}

function directoryOr(path: string, fallback: string): string {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ? path : fallback
}
