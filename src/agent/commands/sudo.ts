import { spawn } from 'node:child_process'
import { userInfo } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { groupLives, signalGroup, type SignalGroup } from '../../protocol/command-line.ts'
import { DployError } from '../../protocol/errors.ts'

/** How sudo begins what it says of itself, and what its rules say of a user whom they do not let (sudo(8), plugins/sudoers/logging.c). */
const refusal = /^(?:sudo: |Sorry, user |\S+ is not (?:in the sudoers file|allowed to run sudo))/
/** So much of what was printed is looked at. Characters. */
const beginning = 500
/** After SIGKILL, until those that it reached are gone. Milliseconds. */
const settling = 300

/** Listens to a program that sudo was asked to run, for whether sudo refused it. */
export class SudoWords {
  #said = ''
  #printed = false

  hear(stream: 'stdout' | 'stderr', bytes: Uint8Array): void {
    if (stream === 'stdout') this.#printed ||= bytes.length > 0
    else if (this.#said.length < beginning) this.#said += Buffer.from(bytes).toString('utf8')
  }

  /** Throws `server.no_sudo` if nothing ran: sudo ends with 1 then, and its own words are all that there is. */
  check(code: number | null, user: string): void {
    if (code === 1 && !this.#printed && refusal.test(this.#said)) throw refused(user, this.#said.trim().split('\n')[0]!)
  }
}

/** What to do about it, beside what sudo said. */
export function refused(user: string, said: string): DployError {
  const { username } = userInfo()
  return new DployError('server.no_sudo', `${username} may not run this as ${user}: ${said}`, {
    fix: `Leave out ${user === 'root' ? '--sudo' : '--user'}, or allow it there: sudo visudo -f /etc/sudoers.d/dploy, with the line "${username} ALL=(${user}) NOPASSWD: ALL"`,
  })
}

/**
 * Signals a process group in which programs of another user run, whom this one may not signal: directly, which reaches sudo itself,
 * and by sudo as that user. Throws `server.no_sudo` if they live on in spite of SIGKILL.
 */
export function asSudoUser(user: string): SignalGroup {
  return async (group, signal) => {
    if (!signalGroup(group, 0)) return false
    try {
      signalGroup(group, signal)
    } catch {
      // None of them is this one's.
    }
    const allowed = await new Promise<boolean>((resolve) => {
      const child = spawn(
        'sudo',
        [
          '-n',
          '-u',
          user,
          '--',
          '/bin/sh',
          '-c',
          'kill -s "$1" -- "-$2"',
          'dploy',
          signal.slice('SIG'.length),
          String(group),
        ],
        { stdio: 'ignore' },
      )
      child.once('error', () => resolve(false)).once('exit', (code) => resolve(code === 0))
    })
    if (signal !== 'SIGKILL' || allowed) return true
    await delay(settling)
    if (groupLives(group))
      throw new DployError(
        'server.no_sudo',
        `What it started runs on: ${userInfo().username} may not end processes of ${user}`,
        { fix: `End it there as ${user}: kill -s KILL -- -${group}` },
      )
    return true
  }
}
