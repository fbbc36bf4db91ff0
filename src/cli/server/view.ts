import type { ServerView } from '../../protocol/api/servers.ts'
import type { ServerStep } from '../../protocol/api/vitals.ts'
import { formatBytes } from '../../protocol/bytes.ts'
import { formatDuration } from '../../protocol/duration.ts'
import type { MachineFacts } from '../../protocol/machine.ts'
import { table } from '../../protocol/terminal.ts'
import { ago } from '../ago.ts'

type Release = ServerView['releases'][number]

/** A table of servers, a line for each environment that one belongs to. */
export function listLines(servers: readonly ServerView[], now: number, width: number): string[] {
  const rows = servers.flatMap((server) => {
    const first = [server.name, presence(server, now)]
    if (server.releases.length === 0) return [[...first, '', '', '', '']]
    return server.releases.map((release, index) => [
      ...(index === 0 ? first : ['', '']),
      `${release.application}/${release.environment}`,
      ...releaseCells(release, now),
    ])
  })
  return table([['server', 'agent', 'environment', 'release', 'since', 'state'], ...rows], width)
}

/** Everything about one server. */
export function showLines(server: ServerView, now: number): string[] {
  const lines = [`${server.name}: ${presence(server, now)}`]
  if (server.agent)
    lines.push(
      `  agent ${server.agent.version}, ${server.agent.platform}, round trip ${server.agent.roundTripMs} ms${Math.abs(server.agent.clockSkewMs) > 2_000 ? `, clock off by ${Math.round(server.agent.clockSkewMs / 1000)} s` : ''}`,
    )
  if (server.now) lines.push(`  ${machineText(server.now.machine)}`)
  if (server.upgradeProblem !== null)
    lines.push(`  its agent is not upgraded: ${server.upgradeProblem}; see there: journalctl -u dploy-agent`)
  if (server.keptOut)
    lines.push(
      `  kept out of traffic by ${server.keptOut.by} since ${ago(server.keptOut.since, now)}; back with: dploy server ready ${server.name}`,
    )
  if (server.locked !== null) lines.push(`  two machines hold its key: dploy server rotate-key ${server.name}`)
  for (const release of server.releases) {
    const [number, since, state] = releaseCells(release, now)
    const tags = Object.entries(release.tags).map(([key, value]) => `${key}=${value}`)
    lines.push(
      `  ${release.application}/${release.environment}: ${release.release === null ? 'no release' : `release ${number}`}${since === '' ? '' : `, since ${since}`}, ${state}${tags.length > 0 ? ` (${tags.join(', ')})` : ''}${release.listed ? '' : '; not in dploy.yml'}`,
    )
  }
  return lines
}

/** `load 0.42 on 4 processors, 12 % in use; memory 3.1 GB of 8.0 GB; disk 20 GB of 50 GB free`. */
function machineText({ load, processors, cpu, memory, disk }: MachineFacts): string {
  const parts = [
    `load ${load.toFixed(2)} on ${processors} processor${processors === 1 ? '' : 's'}${cpu === null ? '' : `, ${Math.round(cpu * 100)} % in use`}`,
    `memory ${formatBytes(memory.total - memory.available)} of ${formatBytes(memory.total)} in use`,
  ]
  if (disk.total > 0) parts.push(`disk ${formatBytes(disk.free)} of ${formatBytes(disk.total)} free`)
  return parts.join('; ')
}

/** A table of what deployments did on a server. */
export function historyLines(steps: readonly ServerStep[], now: number, width: number): string[] {
  const rows = steps.map((step) => [
    String(step.deployment),
    step.kind,
    step.release === null ? '–' : String(step.release),
    step.revision?.subject ?? '',
    step.step,
    formatDuration(step.ms),
    step.bytes === 0 ? '' : formatBytes(step.bytes),
    step.startedAt === null ? '' : ago(step.startedAt, now),
    step.failure?.message ?? '',
  ])
  return table([['deployment', '', 'release', 'subject', 'here', 'took', 'moved', '', ''], ...rows], width)
}

function presence(server: ServerView, now: number): string {
  if (server.locked !== null) return `locked ${ago(server.locked, now)}: two machines hold its key`
  if (server.connected)
    return `connected ${server.since === null ? '' : ago(server.since, now)}${server.keptOut ? ', out of traffic' : ''}${server.upgradeProblem === null ? '' : ', not upgraded'}`
  if (!server.joined && server.since === null) return 'has not joined'
  return server.since === null ? 'not connected' : `gone, last seen ${ago(server.since, now)}`
}

function releaseCells(release: Release, now: number): [string, string, string] {
  const health =
    release.release === null && release.problem === null
      ? 'nothing yet'
      : release.healthy === null
        ? 'unknown'
        : release.healthy
          ? 'healthy'
          : 'not healthy'
  if (release.problem !== null && release.observedAt !== null)
    return [
      release.release === null ? '–' : String(release.release),
      '',
      `as last seen ${ago(release.observedAt, now)}${release.drifted ? ', drifted' : ''}`,
    ]
  return [
    release.release === null ? '–' : String(release.release),
    release.since === null ? '' : ago(release.since, now),
    release.drifted ? `${health}, drifted` : health,
  ]
}
