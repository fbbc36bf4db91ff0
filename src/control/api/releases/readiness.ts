import type * as z from 'zod'
import { releaseDirectory } from '../../../protocol/config/config.ts'
import type { routes } from '../../../protocol/api/contract.ts'
import { readinessOf } from '../../deploy/plan/readiness.ts'
import type { Environment } from '../../store/applications.ts'
import type { ApiContext } from '../context.ts'

/** How long a server has to answer. Milliseconds. */
const askTimeout = 5_000

/** On which servers the newest releases are kept, asked now. */
export async function releaseReadiness(
  context: ApiContext,
  environment: Environment,
  limit: number,
  signal: AbortSignal,
): Promise<z.output<typeof routes.releaseReadiness.response>> {
  const { store, artifacts, gateway } = context
  const [servers, releases] = await Promise.all([
    store.applications.servers(environment.id),
    store.releases.list(environment.id, limit),
  ])
  const { application, name } = environment
  const place = { application, environment: name, directory: releaseDirectory(environment.config, environment.name) }
  const soon = AbortSignal.any([signal, AbortSignal.timeout(askTimeout)])
  const kept = await Promise.all(
    servers.map(async (server) => {
      const seen = await gateway
        .link(server.id)
        ?.command('observe', place, { application, environment: name, epoch: 0, signal: soon })
        .catch(() => null)
      return { server: server.name, kept: seen?.releases ?? null }
    }),
  )
  const found = await readinessOf(
    releases.map(({ number, spec }) => ({ number, artifact: spec.artifact })),
    kept,
    (artifact) => artifacts.objects(artifact),
  )
  return {
    servers: servers.length,
    silent: kept
      .filter((one) => one.kept === null)
      .map(({ server }) => server)
      .slice(0, 20),
    answering: kept.filter((one) => one.kept !== null).length,
    releases: found,
  }
}
