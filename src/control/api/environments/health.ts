import { releaseDirectory } from '../../../protocol/config/config.ts'
import type { ServiceState } from '../../../protocol/agent-messages.ts'
import type { ServerHealth } from '../../../protocol/api/vitals.ts'
import type { Environment, EnvironmentServer } from '../../store/applications.ts'
import type { Release } from '../../store/releases.ts'
import type { ApiContext } from '../context.ts'

/** How long the service has to answer its health check. Milliseconds. */
const patience = 2_000

/** What the check is asked with: the release that runs there, and its server's own port. */
export interface Checked {
  release: Release
  port: number | null
}

/** Whether the service of the release that runs on a server answers its own health check. What has no service is healthy when it is there; null: nobody can say. */
export async function checkHealth(
  context: ApiContext,
  environment: Environment,
  server: { id: string },
  service: ServiceState | null,
  checked: Checked | null,
  signal: AbortSignal,
): Promise<{ healthy: boolean | null; detail: string | null }> {
  const link = context.gateway.link(server.id)
  if (!link || service === null || checked === null) return { healthy: null, detail: null }
  if (service.state === 'none') return { healthy: true, detail: null }
  if (service.state === 'stopped' || service.state === 'failed')
    return { healthy: false, detail: `the service is ${service.state}` }
  try {
    const params = {
      release: checked.release.spec,
      local: checked.port === null ? {} : { port: checked.port },
      timeout: patience,
    }
    return await link.command('check_health', params, {
      application: environment.application,
      environment: environment.name,
      epoch: 0,
      signal,
    })
  } catch {
    return { healthy: null, detail: null }
  }
}

/** Every server of an environment, asked now; each release is read once. */
export async function healthOf(
  context: ApiContext,
  environment: Environment,
  servers: readonly EnvironmentServer[],
  signal: AbortSignal,
): Promise<ServerHealth[]> {
  const { application, name } = environment
  const place = { application, environment: name, directory: releaseDirectory(environment.config, environment.name) }
  const releases = new Map<number, Promise<Release | null>>()
  const releaseOf = (number: number) => {
    const found = releases.get(number) ?? context.store.releases.byNumber(environment.id, number).catch(() => null)
    releases.set(number, found)
    return found
  }
  return Promise.all(
    servers.map(async (server) => {
      const seen = await context.gateway
        .link(server.id)
        ?.command('observe', place, { application, environment: name, epoch: 0, signal })
        .catch(() => null)
      const release = seen?.current == null ? null : await releaseOf(seen.current)
      return {
        name: server.name,
        ...(await checkHealth(
          context,
          environment,
          server,
          seen?.service ?? null,
          release && { release, port: server.port },
          signal,
        )),
      }
    }),
  )
}
