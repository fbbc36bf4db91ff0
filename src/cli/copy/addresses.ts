import type { Config } from '../../protocol/config/config.ts'
import { DployError } from '../../protocol/errors.ts'

/** Where a file is: here, or under a path on servers of an environment. */
export type Place =
  { kind: 'here'; path: string } | { kind: 'there'; environment: string; servers: string[]; path: string }

/**
 * `web1:/etc/shop.conf` is on a server, `production:/etc/shop.conf` on all of an environment's; everything else is a path here,
 * and what has a colon in its name is written `./a:b`. Throws `server.unknown`, `path.unsafe`. Pure.
 */
export function readPlace(text: string, config: Config, environment?: string): Place {
  const match = /^([A-Za-z0-9][A-Za-z0-9._-]*):(.*)$/s.exec(text)
  if (!match) return { kind: 'here', path: text }
  const [, name, path] = match as unknown as [string, string, string]
  if (!path.startsWith('/'))
    throw new DployError('path.unsafe', `"${path}" is not an absolute path on ${name}`, {
      fix: `Write it from the root, for example: ${name}:/tmp/${path || 'FILE'}`,
    })
  if (path.split('/').includes('..')) throw new DployError('path.unsafe', `"${path}" leads upwards`)
  const { environments } = config
  if (environments[name] && environment === undefined)
    return { kind: 'there', environment: name, servers: environments[name].servers.map((server) => server.name), path }
  const within =
    environment ??
    Object.keys(environments).find((one) => environments[one]!.servers.some((server) => server.name === name))
  if (within === undefined || !environments[within]?.servers.some((server) => server.name === name)) {
    const known = [
      ...Object.keys(environments),
      ...Object.values(environments).flatMap((one) => one.servers.map((server) => server.name)),
    ]
    throw new DployError(
      'server.unknown',
      `dploy.yml names no server and no environment ${name}; there are ${known.join(', ')}`,
      { fix: 'For a file here with a colon in its name, write ./NAME' },
    )
  }
  return { kind: 'there', environment: within, servers: [name], path }
}
