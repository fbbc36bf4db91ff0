import { formatDuration } from './duration.ts'
import type { Cause } from './receipt.ts'

const namedServers = 6

/** What a cause cost, and where it was: `3 requests`, `web1, web2 and 4 more`, `in drain`. For terminal and pages. Pure. */
export function causeFigures({
  requests,
  ms,
  servers,
  step,
}: Pick<Cause, 'requests' | 'ms' | 'servers' | 'step'>): string[] {
  const more = servers.length - namedServers
  return [
    ...(requests > 0 ? [`${requests} ${requests === 1 ? 'request' : 'requests'}`] : []),
    ...(ms !== null && ms > 0 ? [`${formatDuration(ms)} of the deployment`] : []),
    ...(servers.length > 0 ? [servers.slice(0, namedServers).join(', ') + (more > 0 ? ` and ${more} more` : '')] : []),
    ...(step === null ? [] : [`in ${step.replaceAll('_', ' ')}`]),
  ]
}
