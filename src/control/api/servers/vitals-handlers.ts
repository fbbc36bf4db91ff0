import type { ServerVitals } from '../../../protocol/api/vitals.ts'
import { DployError } from '../../../protocol/errors.ts'
import type { Sample } from '../../vitals/vitals.ts'
import type { Environment, EnvironmentServer } from '../../store/applications.ts'
import type { ApiContext } from '../context.ts'
import { numberCursor, paged } from '../call/cursor.ts'
import { healthOf } from '../environments/health.ts'
import type { Handlers } from '../server.ts'

/** How long servers have to answer. Milliseconds. */
const askTimeout = 5_000

/** What the routes of servers' health, load and history do. */
export function vitalsHandlers(context: ApiContext): Pick<Handlers, 'serversHealth' | 'vitals' | 'serverHistory'> {
  const { store, vitals } = context
  return {
    async serversHealth({ params, signal }) {
      const environment = await store.applications.environment(params.application, params.environment)
      return {
        servers: await healthOf(
          context,
          environment,
          await store.applications.servers(environment.id),
          AbortSignal.any([signal, AbortSignal.timeout(askTimeout)]),
        ),
      }
    },

    async vitals({ params, query }) {
      const environment = await store.applications.environment(params.application, params.environment)
      const all = await store.applications.servers(environment.id)
      const servers = query.server === undefined ? all : [named(environment, all, query.server)]
      const now = Date.now()
      return {
        servers: servers.map(({ id, name }) => ({
          name,
          now: vitals.latest(id, now),
          ...columnsOf(vitals.samples(id, now, query.points)),
        })),
      }
    },

    async serverHistory({ params, query }) {
      const environment = await store.applications.environment(params.application, params.environment)
      const server = named(environment, await store.applications.servers(environment.id), params.server)
      const { page, next } = paged(
        await store.history.list(environment.id, server.id, query.limit + 1, numberCursor(query.cursor)),
        query.limit,
        ({ deployment }) => deployment,
      )
      return { steps: page, next }
    },
  }
}

function named(environment: Environment, servers: readonly EnvironmentServer[], name: string): EnvironmentServer {
  const found = servers.find((server) => server.name === name)
  if (!found)
    throw new DployError('server.unknown', `${environment.application}/${environment.name} has no server ${name}`)
  return found
}

/** A thousandth is more than anybody sees. */
function columnsOf(samples: readonly Sample[]): Omit<ServerVitals, 'name' | 'now'> {
  const short = (part: number) => Math.round(part * 1_000) / 1_000
  return {
    at: samples.map(({ at }) => at),
    cpu: samples.map(({ cpu }) => (cpu === null ? null : short(cpu))),
    memory: samples.map(({ memory }) => short(memory)),
    disk: samples.map(({ disk }) => short(disk)),
  }
}
