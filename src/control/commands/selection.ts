import { DployError } from '../../protocol/errors.ts'
import type { EnvironmentServer } from '../store/applications.ts'

/** The servers that were named and have all of the tags. Throws `server.unknown`, naming those there are. */
export function selectServers(
  servers: readonly EnvironmentServer[],
  on: { servers: readonly string[]; tags: Readonly<Record<string, string>> },
  environment: string,
): EnvironmentServer[] {
  if (servers.length === 0) throw new DployError('environment.no_servers', `${environment} has no servers`)
  for (const name of on.servers) {
    if (!servers.some((server) => server.name === name))
      throw new DployError(
        'server.unknown',
        `There is no server ${name} in ${environment}; there are ${servers.map((server) => server.name).join(', ')}`,
      )
  }
  const wanted = Object.entries(on.tags)
  const found = servers.filter(
    (server) =>
      (on.servers.length === 0 || on.servers.includes(server.name)) &&
      wanted.every(([key, value]) => server.tags[key] === value),
  )
  if (found.length === 0) {
    const known = new Set(
      servers.flatMap((server) => Object.entries(server.tags).map(([key, value]) => `${key}=${value}`)),
    )
    throw new DployError(
      'server.unknown',
      `No server of ${environment} has ${wanted.map(([key, value]) => `${key}=${value}`).join(' and ')}; tags there are: ${[...known].join(', ') || 'none'}`,
    )
  }
  return found
}
