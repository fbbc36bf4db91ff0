import { spawn, type ChildProcess } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { StringDecoder } from 'node:string_decoder'
import { formatDuration } from './duration.ts'
import type { PersonCommand } from './command-messages.ts'
import { DployError } from './errors.ts'
import { typed } from './typed.ts'

/** Between asking a process group to end and ending it. Milliseconds. */
const grace = 2_000
/** How long output is still read after the command itself has ended, while a grandchild keeps the pipe open. Milliseconds. */
const drainOutput = 200

export interface CommandOptions {
  /** A command line of the person's: handed to `sh -c` as one argument, with nothing put into it. */
  command: string
  cwd: string
  /** The whole environment; nothing else is passed on. */
  env: Readonly<Record<string, string>>
  /** Run as this user and group. */
  ids?: { uid: number; gid: number } | undefined
  /** Milliseconds. */
  timeout: number
  signal: AbortSignal
  /** Nothing that the command started in its group may outlive it. */
  endGroup?: boolean
  onOutput(stream: 'stdout' | 'stderr', text: string): void
}

/**
 * Runs a command line in a process group of its own and waits for its end. When its time is up or the signal aborts,
 * the whole group is ended. Throws `command.timeout`, or the signal's reason.
 */
export async function runCommand(
  options: CommandOptions,
): Promise<{ code: number | null; signal: string | null; ms: number }> {
  options.signal.throwIfAborted()
  const began = performance.now()
  const child = spawn('/bin/sh', ['-c', options.command], {
    cwd: options.cwd,
    env: options.env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options.ids,
  })
  const closed = readOutput(child, options.onOutput)
  const exited = new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })
  const stop = Promise.withResolvers<never>()
  const timer = setTimeout(
    () =>
      stop.reject(
        new DployError(
          'command.timeout',
          `The command did not end within ${formatDuration(options.timeout)}: ${firstLine(options.command)}`,
        ),
      ),
    options.timeout,
  )
  const abort = () => stop.reject(options.signal.reason)
  options.signal.addEventListener('abort', abort, { once: true })
  try {
    const result = await Promise.race([exited, stop.promise])
    if (options.endGroup === true) await endGroup(child.pid!, 'SIGTERM', grace)
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, drainOutput))])
    return { ...result, ms: performance.now() - began }
  } catch (error) {
    if (child.pid !== undefined) await endGroup(child.pid, 'SIGTERM', grace)
    throw error
  } finally {
    clearTimeout(timer)
    options.signal.removeEventListener('abort', abort)
    child.stdout!.destroy()
    child.stderr!.destroy()
  }
}

/** Sends a signal to a process group. False: there is no such group. */
export type SignalGroup = (group: number, signal: NodeJS.Signals) => boolean | Promise<boolean>

/** Asks a process group to end with `signal`, and after `timeout` milliseconds ends it. Resolves when no member is left. `send`: where not all of it is this user's. */
export async function endGroup(
  group: number,
  signal: NodeJS.Signals,
  timeout: number,
  send: SignalGroup = signalGroup,
): Promise<{ killed: boolean }> {
  if (!(await send(group, signal))) return { killed: false }
  const deadline = performance.now() + timeout
  let killed = false
  for (let wait = 2; groupLives(group); wait = Math.min(wait * 1.5, 50)) {
    if (!killed && performance.now() > deadline) {
      killed = true
      await send(group, 'SIGKILL')
    }
    await new Promise((resolve) => setTimeout(resolve, wait))
  }
  return { killed }
}

/**
 * The text for `sh -c`. A shell that only starts one program and waits for it is a process too many, and one that signals
 * do not pass through; so a command that is plainly one program replaces it. Anything that could be shell syntax stays.
 */
export function shellText(command: string): string {
  const words = command.trim().split(' ')
  const plain = words.every((word) => /^[A-Za-z0-9_./:,@%+=-]+$/.test(word)) && !words[0]!.includes('=')
  return plain && !shellWords.has(words[0]!) ? `exec ${command.trim()}` : command
}

/** A command as a person would type it, for records and messages; never to be run. */
export function commandText(command: PersonCommand): string {
  if ('line' in command) return command.line
  return typed([command.file, ...command.args])
}

/** Builtins and reserved words (dash(1)) that a plain-looking command may begin with. */
const shellWords = new Set(
  '. : alias bg break case cd command continue do done echo elif else esac eval exec exit export fc fg fi for function getopts hash if jobs kill local printf pwd read readonly return set shift test then time times trap true false type ulimit umask unalias unset until wait while'.split(
    ' ',
  ),
)

/** Whether the group has a member that still runs. A zombie does not, however late its parent waits for it. */
export function groupLives(group: number): boolean {
  if (!signalGroup(group, 0)) return false
  let names: string[]
  try {
    names = readdirSync('/proc')
  } catch {
    return true
  }
  return names.some((name) => {
    if (!/^\d+$/.test(name)) return false
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1')
      // proc_pid_stat(5): after the name in brackets come state, parent, process group.
      const [state, , processGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      return processGroup === String(group) && state !== 'Z' && state !== 'X'
    } catch {
      return false
    }
  })
}

/** Signals those of a process group that this user may signal; 0 signals nobody. False: there is no such group. Throws EPERM if it may signal none of them. */
export function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-group, signal)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ESRCH') return false
    // Another user's: it is there.
    if (code === 'EPERM' && signal === 0) return true
    throw error
  }
}

function readOutput(child: ChildProcess, onOutput: CommandOptions['onOutput']): Promise<unknown> {
  return Promise.all(
    (['stdout', 'stderr'] as const).map((name) => {
      const decoder = new StringDecoder('utf8')
      const stream = child[name]!
      stream.on('data', (chunk: Buffer) => {
        const text = decoder.write(chunk)
        if (text !== '') onOutput(name, text)
      })
      return new Promise((resolve) => stream.once('close', resolve))
    }),
  )
}

function firstLine(command: string): string {
  const line = command.split('\n')[0]!
  return line.length > 80 ? `${line.slice(0, 79)}…` : line
}
