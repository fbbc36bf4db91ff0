import { DployError } from '../../../protocol/errors.ts'
import type { Release } from '../../store/releases.ts'
import type { Observation } from '../run/observe.ts'

/** A server that could not run its release again, and the secrets that nobody has. */
export interface Stuck {
  server: string
  secrets: readonly string[]
}

/**
 * Servers that run something and could not be given the release from before again. `lackedBy`: secrets of it that a server neither
 * keeps nor could be brought.
 */
export async function stuckServers(
  observed: ReadonlyMap<string, Observation | DployError | undefined>,
  lackedBy: (server: string) => Promise<readonly string[]>,
): Promise<Stuck[]> {
  const stuck: Stuck[] = []
  for (const [server, observation] of observed) {
    if (observation === undefined || observation instanceof DployError || observation.current === null) continue
    const secrets = await lackedBy(server)
    if (secrets.length > 0) stuck.push({ server, secrets })
  }
  return stuck
}

/** The secrets of a release that a server lacks, of those that are not known here. An agent that does not say lacks them all. */
export function lacksOf(observation: Observation, release: Release, notHere: readonly string[]): readonly string[] {
  const lacks = observation.releases.find(({ id }) => id === release.id)?.lacks
  return lacks === undefined ? notHere : notHere.filter((name) => lacks.includes(name))
}

/** Null: every server could go back. */
export function noWayBack(release: Release, stuck: readonly Stuck[]): DployError | null {
  if (stuck.length === 0) return null
  const servers = stuck.map(({ server }) => server)
  const shown =
    servers.length > 5 ? `${servers.slice(0, 5).join(', ')} and ${servers.length - 5} more` : servers.join(', ')
  const secrets = [...new Set(stuck.flatMap((one) => one.secrets))].join(', ')
  return new DployError(
    'release.no_way_back',
    `Release ${release.number} runs and could not be started again on ${shown}: the values of its secrets are neither here nor kept there: ${secrets}`,
    {
      where: shown,
      fix: `Deploy once from where release ${release.number} was made, or repeat this command with --no-way-back`,
    },
  )
}
