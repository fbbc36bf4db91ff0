import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Push } from './push.ts'

/** Other names under which services let ssh in where its port is closed. */
const sameHost: Readonly<Record<string, string>> = {
  'ssh.github.com': 'github.com',
  'altssh.bitbucket.org': 'bitbucket.org',
  'altssh.gitlab.com': 'gitlab.com',
  'www.github.com': 'github.com',
}

/** Where a repository is, however it is reached: host and path in lower case, without user, port and `.git`. */
export interface Place {
  /** Null: a directory of the control plane's machine. */
  host: string | null
  path: string
}

/** Reads a git URL; null: it is a path, relative to who knows what. */
export function placeOf(url: string): Place | null {
  if (url.startsWith('file://')) {
    try {
      return { host: null, path: fileURLToPath(url).replace(/\/+$/, '') }
    } catch {
      return null
    }
  }
  const [, host, path] =
    /^[a-z][a-z0-9+.-]*:\/\/(?:[^/@]*@)?(\[[^\]]*\]|[^/:]+)(?::\d+)?\/(.*)$/is.exec(url) ??
    /^(?:[^/\s@]+@)?([^/\s:@]+):(?!\/\/)(.+)$/s.exec(url) ??
    []
  if (host === undefined || path === undefined) return null
  const name = host.toLowerCase()
  return { host: sameHost[name] ?? name, path: trimmed(path) }
}

/**
 * Whether an application's source is the repository that was pushed to. Null: its source is a path, of which a service
 * knows nothing. `base` is where its dploy.yml stands.
 */
export function isSource(source: string, base: string | null, repository: Push['repository']): boolean | null {
  const own = placeOf(source)
  const pushed = repository.urls.flatMap((url) => placeOf(url) ?? [])
  if (own === null || own.host === null) {
    const path = own?.path ?? (base === null ? null : resolve(base, source))
    if (path !== null && pushed.some((place) => place.host === null && place.path === path)) return true
    return own === null ? null : false
  }
  if (pushed.some((place) => place.host === own.host && place.path === own.path)) return true
  // Without an address its last two parts have to do: Data Center of Bitbucket puts others before them.
  return repository.path !== null && `/${own.path}`.endsWith(`/${trimmed(repository.path)}`)
}

function trimmed(path: string): string {
  return path
    .toLowerCase()
    .replace(/^\/+/, '')
    .replace(/\/+$/, '')
    .replace(/\.git$/, '')
    .replace(/^scm\//, '')
}
