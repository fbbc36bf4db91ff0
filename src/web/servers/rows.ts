import type { ServerStatus } from '../../protocol/api/environments.ts'
import type { ServerHealth, ServerVitals } from '../../protocol/api/vitals.ts'
import type { Tone } from '../components/state.tsx'

/** A server as the page shows it: what it runs, whether it is well, how busy it is. */
export interface ServerRow extends ServerStatus {
  health: ServerHealth | null
  vitals: ServerVitals | null
}

export function rowsOf(
  servers: readonly ServerStatus[],
  health: ReadonlyMap<string, ServerHealth> | undefined,
  vitals: ReadonlyMap<string, ServerVitals> | undefined,
): ServerRow[] {
  return servers.map((server) => ({
    ...server,
    health: health?.get(server.name) ?? null,
    vitals: vitals?.get(server.name) ?? null,
  }))
}

/** Where a server stands, in one word or two. */
export function stateOf(server: ServerStatus & { health?: ServerHealth | null }): { tone: Tone; text: string } {
  if (!server.connected) return { tone: 'bad', text: 'not connected' }
  if (server.problem) return { tone: 'bad', text: 'not well' }
  const state = server.service?.state
  if (state === 'failed' || state === 'stopped') return { tone: 'bad', text: `service ${state}` }
  if (server.health?.healthy === false) return { tone: 'bad', text: 'not healthy' }
  if (server.drifted) return { tone: 'warn', text: 'drifted' }
  if (server.idle && server.traffic?.admission !== 'ready') return { tone: 'idle', text: 'idle' }
  if (server.traffic && server.traffic.admission !== 'ready')
    return { tone: 'warn', text: server.traffic.admission === 'draining' ? 'draining' : 'out of traffic' }
  if (server.traffic && !server.traffic.up) return { tone: 'bad', text: 'down for the balancer' }
  return server.release === null ? { tone: 'idle', text: 'nothing deployed' } : { tone: 'good', text: 'serves' }
}

/** Whether its service answers its health check, in words; null: nobody can say. */
export function healthText({ health, service }: ServerRow): string | null {
  if (health === null || health.healthy === null) return null
  if (service?.state === 'none') return 'no service'
  return health.healthy ? 'healthy' : (health.detail ?? 'not healthy')
}

/** By name or tag. */
export function matches(server: ServerStatus, search: string): boolean {
  const needle = search.trim().toLowerCase()
  return (
    needle === '' ||
    server.name.toLowerCase().includes(needle) ||
    Object.entries(server.tags).some(([name, value]) => `${name}=${value}`.toLowerCase().includes(needle))
  )
}

/** The states that there are, each with how many servers are in it, those that need somebody first. */
export function statesOf(servers: readonly ServerRow[]): { tone: Tone; text: string; count: number }[] {
  const order: readonly Tone[] = ['bad', 'warn', 'busy', 'idle', 'good']
  const found = new Map<string, { tone: Tone; text: string; count: number }>()
  for (const server of servers) {
    const { tone, text } = stateOf(server)
    const known = found.get(text)
    if (known) known.count++
    else found.set(text, { tone, text, count: 1 })
  }
  return [...found.values()].sort((a, b) => order.indexOf(a.tone) - order.indexOf(b.tone) || b.count - a.count)
}

/** The tags that servers are told apart by. */
export function tagNamesOf(servers: readonly ServerStatus[]): string[] {
  return [...new Set(servers.flatMap(({ tags }) => Object.keys(tags)))].sort()
}

export interface ServerGroup {
  /** `role=web`; empty: all of them. */
  title: string
  servers: ServerRow[]
}

/** Servers by the value of a tag, those without it last; without a tag, all in one. Names are in the order that people count in. */
export function groupsOf(servers: readonly ServerRow[], tag: string): ServerGroup[] {
  const sorted = servers.toSorted((a, b) => collator.compare(a.name, b.name))
  if (tag === '') return [{ title: '', servers: sorted }]
  const groups = Map.groupBy(sorted, ({ tags }) => tags[tag])
  return [...groups]
    .sort(([a], [b]) => (a === undefined ? 1 : b === undefined ? -1 : collator.compare(a, b)))
    .map(([value, members]) => ({
      title: value === undefined ? `without ${tag}` : `${tag}=${value}`,
      servers: members,
    }))
}

const collator = new Intl.Collator('en', { numeric: true })

/** `12 %`. */
export function percent(part: number): string {
  return `${Math.round(part * 100)} %`
}
