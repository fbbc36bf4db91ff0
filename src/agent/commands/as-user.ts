import { existsSync, readFileSync } from 'node:fs'
import { DployError } from '../../protocol/errors.ts'

export interface Program {
  file: string
  args: string[]
}

interface Account {
  name: string
  uid: number
  gid: number
  home: string
  shell: string
}

/** Where util-linux puts it (setpriv(1)). */
const setpriv = '/usr/bin/setpriv'

/**
 * A program as another user runs it: from root by setpriv(1), which takes over that user's groups too; from anybody else by
 * `sudo -n`, which never asks and says on standard error why it refuses. Throws `server.user_unknown`.
 */
export function asUser(
  program: Program,
  env: Readonly<Record<string, string>>,
  options: { user: string | undefined; sudo: boolean },
): Program & { env: Record<string, string> } {
  const self = process.getuid?.() ?? 0
  const wanted = options.user ?? (options.sudo ? 'root' : undefined)
  if (wanted === undefined) return { ...program, env: { ...env } }
  const account = accountOf(wanted)
  if (!account) throw new DployError('server.user_unknown', `There is no user ${wanted} on this server`)
  const own = { ...env, HOME: account.home, USER: account.name, LOGNAME: account.name }
  if (account.uid === self) return { ...program, env: own }
  if (self === 0 && existsSync(setpriv)) {
    return {
      file: setpriv,
      args: [`--reuid=${account.uid}`, `--regid=${account.gid}`, '--init-groups', '--', program.file, ...program.args],
      env: own,
    }
  }
  return { file: 'sudo', args: ['-n', '-u', account.name, '--', program.file, ...program.args], env: { ...env } }
}

/** A user by name, or by id; null if there is none. */
export function accountOf(wanted: string | number): Account | null {
  for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
    const [name, , uid, gid, , home, shell] = line.split(':')
    if (name === wanted || Number(uid) === wanted)
      return { name: name!, uid: Number(uid), gid: Number(gid), home: home || '/', shell: shell || '/bin/sh' }
  }
  return null
}
