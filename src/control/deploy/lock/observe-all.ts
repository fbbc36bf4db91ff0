import { releaseDirectory } from '../../../protocol/config/config.ts'
import type { AgentLink } from '../../gateway/agent-link.ts'
import type { Environment } from '../../store/applications.ts'
import type { Observation } from '../run/observe.ts'

/** How long a server has to answer. Milliseconds. */
const answerWithin = 10_000

/** What was seen of a server; `at` by `performance.now()`. */
export interface Seen {
  at: number
  observation: Observation
}

/** What cannot be asked here is asked again, and told, by the deployment. */
export async function observeAll(
  environment: Environment,
  links: readonly AgentLink[],
  seen: Map<string, Seen>,
  signal: AbortSignal,
): Promise<void> {
  const { application, name } = environment
  const place = { application, environment: name, directory: releaseDirectory(environment.config, environment.name) }
  const limit = AbortSignal.any([signal, AbortSignal.timeout(answerWithin)])
  await Promise.allSettled(
    links.map(async (link) => {
      const observation = await link.command('observe', place, {
        application,
        environment: name,
        epoch: 0,
        signal: limit,
      })
      seen.set(link.server.name, { at: performance.now(), observation })
    }),
  )
}
