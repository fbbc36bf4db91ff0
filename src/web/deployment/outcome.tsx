import { useQuery } from '@tanstack/react-query'
import type { DeploymentSummary } from '../../protocol/deployment.ts'
import { queries } from '../api/queries.ts'
import { State } from '../components/state.tsx'

/** After a deployment that did not succeed: what its servers run now, asked of them; only while nothing came after it. */
export function Outcome({ deployment, state }: { deployment: DeploymentSummary; state: string }) {
  const { application, environment, number, from } = deployment
  const bad = ['rolled_back', 'failed', 'cancelled'].includes(state)
  const { data } = useQuery({ ...queries.status(application, environment), enabled: bad })
  if (!bad || !data || data.last === null || data.lock !== null) return null
  // A converge that followed is part of the way back; what a person did since has a page of its own.
  if ((data.ended?.number ?? number) !== number) return null
  const wanted = data.wanted?.release ?? null
  const servers = data.servers.filter(({ idle }) => !idle)
  const there = servers.filter(({ connected, drifted, release }) => connected && !drifted && release === wanted)
  const others = servers.filter((server) => !there.includes(server))
  const out = there.filter(({ traffic }) => traffic !== null && traffic.admission !== 'ready')
  if (servers.length === 0) return null
  const what = wanted === null ? 'nothing, as before' : `release ${wanted}${wanted === from ? ' again' : ''}`
  if (others.length === 0)
    return (
      <p role="status">
        <State tone={out.length === 0 ? 'good' : 'warn'}>
          {servers.length === 1 ? `${servers[0]!.name} runs` : `All ${servers.length} servers run`} {what}.
          {out.length === 0 ? '' : ` Out of traffic: ${names(out)}.`}
        </State>
      </p>
    )
  return (
    <p role="status">
      <State tone="bad">
        {there.length} of {servers.length} servers run {what}. Not: {names(others)}.
      </State>
    </p>
  )
}

function names(servers: readonly { name: string; connected: boolean; release: number | null }[]): string {
  const some = servers
    .slice(0, 5)
    .map(
      ({ name, connected, release }) =>
        `${name} (${!connected ? 'not connected' : release === null ? 'runs nothing' : `release ${release}`})`,
    )
  return `${some.join(', ')}${servers.length > 5 ? ', …' : ''}`
}
