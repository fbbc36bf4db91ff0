import { styleText } from 'node:util'
import type { DeploymentState, StepState } from '../../protocol/deployment.ts'
import { formatDuration } from '../../protocol/duration.ts'
import { fit, wrap } from '../../protocol/terminal.ts'
import type { Progress, ServerProgress } from './progress.ts'

/** Up to here a server has a row of its own; above, a batch has one. */
const rowsAtMost = 40

const phases: { state: DeploymentState; label: string }[] = [
  { state: 'resolving', label: 'resolve' },
  { state: 'building', label: 'build' },
  { state: 'staging', label: 'stage' },
  { state: 'committing', label: 'commit' },
  { state: 'activating', label: 'activate' },
  { state: 'baking', label: 'bake' },
]

const marks: Record<StepState, string> = {
  pending: '·',
  staging: '▸',
  staged: '•',
  draining: '▸',
  activating: '▸',
  registering: '▸',
  switched: '✓',
  reverting: '↩',
  reverted: '↩',
  failed: '✗',
  quarantined: '✗',
  unreachable: '✗',
  unchanged: '=',
}

/** The whole picture of a running deployment as lines of at most `width` columns. Pure: `now` is epoch milliseconds. */
export function liveLines(
  progress: Progress,
  options: { width: number; height: number; color: boolean; now: number; title: string },
): string[] {
  const { width } = options
  const paint = (style: Parameters<typeof styleText>[0], text: string) =>
    options.color ? styleText(style, text, { validateStream: false }) : text
  const elapsed = progress.began === null ? 0 : (progress.ended ?? options.now) - progress.began
  const lines = [
    fit(`${paint('bold', options.title)}  ${stateText(progress, paint)}  ${formatDuration(elapsed)}`, width),
    fit(phaseLine(progress, paint), width),
  ]
  if (progress.traffic) {
    const { seen, failed, stalled, slowestMs } = progress.traffic
    const noticed =
      failed + stalled > 0 ? paint('red', `${failed} failed, ${stalled} stalled`) : paint('green', '0 noticed')
    lines.push(fit(`traffic   ${seen} requests seen, ${noticed}, slowest ${Math.round(slowestMs)} ms`, width))
  }
  const servers = [...progress.servers.values()]
  const room = Math.min(rowsAtMost, Math.max(4, options.height - lines.length - 4))
  const rows =
    servers.length <= room
      ? servers.map((server) => serverRow(server, progress, options.now, paint))
      : batchRows(servers, paint)
  for (const row of rows) lines.push(fit(row, width))
  if (progress.waiting)
    lines.push(
      fit(paint('yellow', `waits for a person: ${progress.waiting.text}`), width),
      fit(`next: dploy promote   (or back: dploy abort)`, width),
    )
  else if (progress.note !== '') lines.push(fit(paint('dim', progress.note), width))
  if (progress.failure) lines.push(...failureLines(progress, width, paint))
  return lines
}

type Paint = (style: Parameters<typeof styleText>[0], text: string) => string

function stateText(progress: Progress, paint: Paint): string {
  const text = progress.state.replaceAll('_', ' ')
  if (progress.state === 'succeeded') return paint('green', text)
  if (
    progress.state === 'failed' ||
    progress.state === 'rolled_back' ||
    progress.state === 'rolling_back' ||
    progress.state === 'cancelled'
  )
    return paint('red', text)
  return paint('cyan', text)
}

function phaseLine(progress: Progress, paint: Paint): string {
  const reached = new Map(
    progress.phases.map((phase, index) => [phase.state, { at: phase.at, end: progress.phases[index + 1]?.at }]),
  )
  const parts = phases
    .filter(({ state }) => reached.has(state) || !reached.size || progress.state !== 'succeeded')
    .map(({ state, label }) => {
      const span = reached.get(state)
      if (!span) return paint('dim', label)
      if (span.end === undefined) return paint('cyan', label)
      return `${label} ${paint('green', '✓')} ${formatDuration(span.end - span.at)}`
    })
  return parts.join(' → ')
}

function serverRow(server: ServerProgress, progress: Progress, now: number, paint: Paint): string {
  const batches = progress.plan?.batches.length ?? 0
  const batch = server.batch !== null && batches > 1 ? paint('dim', ` ${server.batch + 1}/${batches}`) : ''
  const width = Math.max(4, ...[...progress.servers.keys()].map((name) => name.length))
  const time = server.began === null ? '' : formatDuration((server.ended ?? now) - server.began)
  const text = server.failure ? server.failure.message : server.note
  return `  ${mark(server.state, paint)} ${server.name.padEnd(width)}${batch}  ${server.state.padEnd(11)} ${time.padStart(7)}  ${paint('dim', text)}`
}

function batchRows(servers: readonly ServerProgress[], paint: Paint): string[] {
  const groups = Map.groupBy(servers, (server) => server.batch)
  return [...groups].map(([batch, members]) => {
    const cells = members.map((server) => mark(server.state, paint)).join('')
    const done = members.filter((server) => server.ended !== null).length
    return `  ${batch === null ? 'others  ' : `batch ${String(batch + 1).padEnd(2)}`} ${String(done).padStart(4)}/${String(members.length).padEnd(4)} ${cells}`
  })
}

function mark(state: StepState, paint: Paint): string {
  if (state === 'switched' || state === 'unchanged') return paint('green', marks[state])
  if (state === 'failed' || state === 'quarantined' || state === 'unreachable') return paint('red', marks[state])
  if (state === 'pending' || state === 'staged') return paint('dim', marks[state])
  return paint('cyan', marks[state])
}

function failureLines(progress: Progress, width: number, paint: Paint): string[] {
  const { code, message, where, fix } = progress.failure!
  const all = [`${where === undefined ? '' : `${where}: `}${message}`, `next: ${fix}`, `(${code})`].flatMap((text) =>
    text.split('\n'),
  )
  // Whole: it is what there is to read, and to type.
  return all.flatMap((text) => wrap(text, width)).map((line) => paint('red', line))
}
