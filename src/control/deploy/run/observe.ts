import type { AgentResult } from '../../../protocol/agent-messages.ts'
import { releaseDirectory } from '../../../protocol/config/config.ts'
import { DployError } from '../../../protocol/errors.ts'
import type { ObservedServer } from '../plan/plan.ts'
import type { ServerTraffic } from '../../../balancers/contract.ts'
import { trafficState } from './admission.ts'
import type { Run } from './run.ts'

export type Observation = AgentResult<'observe'>

/** What there is on every server of the deployment, asked of all at once; the error for one that cannot be reached. */
export async function observeServers(run: Run, signal: AbortSignal): Promise<Map<string, Observation | DployError>> {
  const seen = new Map<string, Observation | DployError>()
  await Promise.all(
    run.servers.map(async (server) => {
      try {
        const observation =
          run.shared.seen(server.name) ??
          (await run.command(server, 'observe', placeOf(run), {
            timeout: run.environment.timeouts.reach,
            signal,
            id: `${run.id}:observe:${server.id}:${Date.now()}`,
          }))
        run.noteKept(server.name, observation)
        seen.set(server.name, observation)
      } catch (error) {
        signal.throwIfAborted()
        seen.set(
          server.name,
          error instanceof DployError
            ? error
            : new DployError('internal', String(error), { where: server.name, cause: error }),
        )
      }
    }),
  )
  return seen
}

/** The place on a server where this application's environment lives. */
export function placeOf(run: Run): { application: string; environment: string; directory: string } {
  return {
    application: run.row.config.application,
    environment: run.environmentName,
    directory: releaseDirectory(run.row.config, run.environmentName),
  }
}

/** What the plan needs of an observation. */
export function forPlan(
  observation: Observation | DployError | undefined,
  traffic?: ServerTraffic | undefined,
): ObservedServer | null {
  if (observation === undefined || observation instanceof DployError) return null
  const { service } = observation
  return {
    current: observation.current,
    releases: observation.releases.map((release) => release.number),
    traffic: traffic === undefined ? null : trafficState(traffic),
    handover: service.handover ?? 'restart',
    running:
      service.state === 'none' ||
      (service.state === 'running' && service.release === observation.current) ||
      (service.state === 'unknown' && service.release === null),
  }
}
