import { existsSync } from 'node:fs'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { DployError } from '../../protocol/errors.ts'

/**
 * Gives git the credentials of one host from the environment, where other users of the machine cannot see them
 * (gitcredentials(7), "Custom helpers").
 */
const helper = `!f() { test "$1" = get && printf 'username=%s\\npassword=%s\\n' "$DPLOY_SOURCE_USER" "$DPLOY_SOURCE_PASSWORD"; }; f`

/** Where a repository is, and how git is told. */
export interface RepositoryAddress {
  /** Without the password: also for people's eyes. */
  url: string
  /** For git, before its command. */
  args: string[]
  env: Record<string, string>
}

/**
 * Reads the source of a dploy.yml: a git URL, or a path relative to `base`, which may lie in a folder of its repository.
 * Throws `source.unreachable` for a path without a base, `source.unsupported` for transports that run programs.
 */
export function repositoryAddress(repository: string, base: string | null): RepositoryAddress {
  if (/^(?:ext|fd)::/i.test(repository))
    throw new DployError(
      'source.unsupported',
      `The source ${JSON.stringify(repository)} would run a program; dploy does not use git's ext and fd transports`,
      { fix: 'Give source: a git URL in dploy.yml' },
    )
  if (isUrl(repository)) return withoutPassword(repository)
  if (!isAbsolute(repository) && base === null)
    throw new DployError(
      'source.unreachable',
      `The source ${JSON.stringify(repository)} is a path, and this control plane does not stand on the machine where it leads`,
      { fix: 'Give source: a git URL in dploy.yml' },
    )
  return { url: topOf(resolve(base ?? '/', repository)), args: [], env: {} }
}

function isUrl(text: string): boolean {
  return (
    /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ||
    /^[^/\s-][^/\s]*@[^/\s:]+:/.test(text) ||
    /^[A-Za-z0-9][A-Za-z0-9.-]*:[^/\\]/.test(text)
  )
}

function withoutPassword(url: string): RepositoryAddress {
  const [, scheme, user, password, rest] = /^(https?:\/\/)([^/@:]*):([^/@]*)@(.*)$/is.exec(url) ?? []
  if (rest === undefined) return { url, args: [], env: {} }
  return {
    url: `${scheme}${rest}`,
    args: ['-c', 'credential.helper=', '-c', `credential.${scheme}${rest.split('/')[0]}.helper=${helper}`],
    env: { DPLOY_SOURCE_USER: decoded(user!), DPLOY_SOURCE_PASSWORD: decoded(password!) },
  }
}

/** A line feed would begin another line of what the helper says. */
function decoded(text: string): string {
  try {
    const plain = decodeURIComponent(text)
    if (!/[\0\r\n]/.test(plain)) return plain
  } catch {
    // Not encoded, then.
  }
  return text
}

/** The repository that a path lies in: dploy.yml may stand in a folder of it. The path itself when there is none. */
function topOf(path: string): string {
  for (let at = path; ; at = dirname(at)) {
    if (existsSync(join(at, '.git')) || (existsSync(join(at, 'HEAD')) && existsSync(join(at, 'objects')))) return at
    if (dirname(at) === at || !existsSync(path)) return path
  }
}
