import type { RouteName } from '../../../protocol/api/contract.ts'
import { selectServers } from '../../commands/selection.ts'
import type { Environment } from '../../store/applications.ts'
import type { Store } from '../../store/store.ts'

/** A request that was found valid. */
interface Asked {
  params: unknown
  query: unknown
  body: unknown
}

/**
 * The servers that a person's own command or question is about, by name; null: all of the environment. Where ssh reaches them, nobody is asked
 * for a passphrase on account of the others.
 */
export async function askedServers(
  name: RouteName,
  { params, query, body }: Asked,
  environment: Environment,
  store: Pick<Store, 'applications'>,
): Promise<readonly string[] | null> {
  switch (name) {
    case 'shell':
      return [(params as { server: string }).server]
    case 'exec': {
      const { on } = body as { on: Parameters<typeof selectServers>[1] }
      try {
        return selectServers(await store.applications.servers(environment.id), on, environment.name).map(
          (server) => server.name,
        )
      } catch {
        // It tells so itself, and needs none of them.
        return []
      }
    }
    case 'copyTo':
    case 'copyFrom': {
      const { server } = query as { server: readonly string[] }
      return server.length === 0 ? null : server
    }
    case 'logs': {
      const { server } = query as { server?: string }
      return server === undefined ? null : [server]
    }
    default:
      return null
  }
}
