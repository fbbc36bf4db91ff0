import type { Client } from '../client/client.ts'
import type { Place } from '../protocol/api/access.ts'
import { DployError } from '../protocol/errors.ts'

/** Environments as they are typed: `shop/production`, or `production` where that is clear. Throws `environment.unknown`. */
export async function placesOf(client: Client, application: string | null, names: readonly string[]): Promise<Place[]> {
  const { environments } = await client.call('environments')
  return names.map((name) => {
    const found = environments.filter(
      (one) => name === `${one.application}/${one.environment}` || name === one.environment,
    )
    const own = found.filter((one) => one.application === application)
    const [only] = own.length === 1 ? own : found
    if (only && (own.length === 1 || found.length === 1))
      return { application: only.application, environment: only.environment }
    const known = environments.map((one) => `${one.application}/${one.environment}`).join(', ')
    throw new DployError(
      'environment.unknown',
      found.length > 1
        ? `Several applications have an environment ${name}`
        : `There is no environment ${name}; known: ${known || 'none'}`,
      { fix: 'Name it as APPLICATION/ENVIRONMENT' },
    )
  })
}
