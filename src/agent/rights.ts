import { userInfo } from 'node:os'
import { DployError } from '../protocol/errors.ts'

/** Error codes of the system for what only root may do. */
const refused = new Set(['EACCES', 'EPERM'])

/**
 * What failed because this agent runs as a user who could not become root, told as that: `server.no_sudo` with sudo's
 * own words. Everything else is answered as it is.
 */
export function explainRights(error: unknown, sudoSaid: string): unknown {
  const { code, path, syscall } = (error ?? {}) as { code?: string; path?: string; syscall?: string }
  const needsRoot = error instanceof DployError ? error.code === 'service.manager_unavailable' : refused.has(code ?? '')
  if (!needsRoot) return error
  const { username, homedir } = userInfo()
  const what =
    error instanceof DployError ? error.message : `${username} may not ${syscall ?? 'use'} ${path ?? 'what it needs'}`
  return new DployError('server.no_sudo', `${what}, and sudo is refused: ${sudoSaid || 'it was not tried'}`, {
    fix: `Allow ${username} sudo without a password there (sudo visudo -f /etc/sudoers.d/dploy: "${username} ALL=(ALL) NOPASSWD: ALL"); or set release.directory below ${homedir} and service.manager to process`,
    cause: error,
  })
}
