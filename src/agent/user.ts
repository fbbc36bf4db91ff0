import { readFileSync } from 'node:fs'
import { DployError } from '../protocol/errors.ts'

/** User and group id of a user by name. Throws `service.manager_unavailable` if there is none. */
export function userIds(name: string): { uid: number; gid: number } {
  for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
    const [user, , uid, gid] = line.split(':')
    if (user === name) return { uid: Number(uid), gid: Number(gid) }
  }
  throw new DployError('service.manager_unavailable', `There is no user ${name} on this server`, {
    fix: `Create it there: useradd --system ${name}`,
  })
}
