import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TerminalSize } from '../../protocol/command-messages.ts'
import { DployError } from '../../protocol/errors.ts'
import type { Program } from './as-user.ts'

const directories = ['/usr/bin', '/bin', '/usr/local/bin']

/**
 * What begins in the new terminal: its size, echo (which script(1) turns off when its own input is no terminal), then the
 * user's shell. The text is always this one; what differs comes in variables.
 */
const begin = `stty cols "$DPLOY_COLUMNS" rows "$DPLOY_ROWS" echo
user=$DPLOY_SUDO; SHELL=$DPLOY_SHELL; export SHELL; unset DPLOY_COLUMNS DPLOY_ROWS DPLOY_SHELL DPLOY_SUDO
if [ -n "$user" ]; then exec sudo -n -u "$user" -i; fi
exec "$SHELL" -l`
const pythonBegin =
  'import os, pty, sys\nstatus = pty.spawn(["/bin/sh", "-c", sys.argv[1]])\nsys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))'

/**
 * A program that makes a terminal, with the user's shell in it, and carries it over its standard input and output. Node has
 * no terminals of its own, and an addon would have to be compiled for each kind of server; script(1) of util-linux is on every
 * Debian and Red Hat, the pty module of python3 on most of the rest. Throws `shell.no_terminal` where neither is.
 */
export function terminalProgram(where: readonly string[] = directories): Program {
  const script = find('script', where)
  if (script !== null) return { file: script, args: ['-q', '-f', '-e', '-c', begin, '/dev/null'] }
  const python = find('python3', where)
  if (python !== null) return { file: python, args: ['-c', pythonBegin, begin] }
  throw new DployError(
    'shell.no_terminal',
    'This server has neither script(1) of util-linux nor python3, one of which is needed to make a terminal',
  )
}

/** `sudo`: the user that is reached only by sudo(8), within the terminal. */
export function terminalEnvironment(
  terminal: TerminalSize & { kind: string },
  shell: string,
  sudo: string | undefined,
): Record<string, string> {
  return {
    TERM: terminal.kind,
    // script(1) runs its command by this one.
    SHELL: '/bin/sh',
    DPLOY_SHELL: shell,
    DPLOY_SUDO: sudo ?? '',
    DPLOY_COLUMNS: String(terminal.columns),
    DPLOY_ROWS: String(terminal.rows),
  }
}

/**
 * The device of the terminal that `pid` made, found by the first of its descendants that has one and leads its session; null
 * while there is none. Field 7 of proc_pid_stat(5) has the number: Unix98 terminals have the majors 136 to 143.
 */
export function terminalOf(pid: number): string | null {
  for (const child of childrenOf(pid)) {
    const stat = read(`/proc/${child}/stat`)
    const [, , , session, tty] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number)
    const major = (tty! >> 8) & 0xfff
    if (session === child && major >= 136 && major <= 143)
      return `/dev/pts/${(major - 136) * 256 + (((tty! >> 12) & 0xfff00) | (tty! & 0xff))}`
    const below = terminalOf(child)
    if (below !== null) return below
  }
  return null
}

/** The program that gives a terminal a size; the kernel then tells what runs in it by SIGWINCH. */
export function resizeProgram(device: string, size: TerminalSize): Program {
  return { file: 'stty', args: ['-F', device, 'cols', String(size.columns), 'rows', String(size.rows)] }
}

/** Runs it and waits; that it failed matters to nobody, since the terminal may have ended meanwhile. */
export function runQuietly(program: Program, env: Readonly<Record<string, string>>): Promise<void> {
  return new Promise((resolve) =>
    execFile(program.file, program.args, { env: { ...env }, timeout: 5_000 }, () => resolve()),
  )
}

function find(name: string, where: readonly string[]): string | null {
  return where.map((directory) => join(directory, name)).find((path) => existsSync(path)) ?? null
}

function childrenOf(pid: number): number[] {
  return read(`/proc/${pid}/task/${pid}/children`).trim().split(' ').filter(Boolean).map(Number)
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
