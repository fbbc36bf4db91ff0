import { styleText } from 'node:util'
import stringWidth from 'string-width'
import { causeTable } from './causes.ts'
import { formatBytes } from './bytes.ts'
import { formatDuration } from './duration.ts'
import type { During, NoticedRequest, Receipt, ReceiptServer, ServerOutcome } from './receipt.ts'
import { cell, columns, columnWidths, fit, flow } from './terminal.ts'
import { verdictOf, type Verdict } from './verdict.ts'
import { waterfall, waterfallLegend } from './waterfall.ts'

export interface ReceiptTextOptions {
  /** Columns of the terminal; under 40 it is written as for 40. */
  width: number
  color: boolean
}

/** Up to here a server has a row of its own; above, a batch has one. */
const rowsAtMost = 12
const noticedAtMost = 10
const indent = 2
const labelWidth = 10
/** A picture narrower than this says nothing. */
const narrowestBar = 16
const widestBar = 60

/** A receipt for a terminal, as lines of at most `width` columns. Pure. */
export function receiptLines(receipt: Receipt, options: ReceiptTextOptions): string[] {
  const width = Math.max(40, Math.floor(options.width))
  const paint: Paint = (style, text) => (options.color ? styleText(style, text, { validateStream: false }) : text)
  const page = { receipt, width, color: options.color, paint }
  return [
    ...headline(page),
    ...verdict(page),
    '',
    ...time(page),
    ...path(page),
    ...moved(page),
    ...capacity(page),
    ...cuts(page),
    ...requests(page),
    ...why(page),
    ...noticed(page),
    ...servers(page),
  ].map((line) => fit(line, width).trimEnd())
}

type Paint = (style: Parameters<typeof styleText>[0], text: string) => string
interface Page {
  receipt: Receipt
  width: number
  color: boolean
  paint: Paint
}

function headline({ receipt, paint, width }: Page): string[] {
  const ok = receipt.state === 'succeeded'
  const what = { deploy: 'Deployment', rollback: 'Rollback', converge: 'Convergence' }[receipt.kind]
  const state = receipt.state.replaceAll('_', ' ')
  const releases =
    receipt.to === null
      ? ''
      : receipt.from === null
        ? `release ${receipt.to}`
        : `release ${receipt.from} → ${receipt.to}`
  const parts = [
    paint('bold', paint(ok ? 'green' : 'red', `${ok ? '✓' : '✗'} ${what} ${receipt.number} ${state}`)) +
      ` in ${paint('bold', formatDuration(receipt.seconds * 1000))}`,
    releases,
    ...(receipt.out.length === 0
      ? []
      : [paint('yellow', `${receipt.out.join(', ')} ${receipt.out.length === 1 ? 'is' : 'are'} out of traffic`)]),
  ]
  return flow(
    parts.filter((part) => part !== ''),
    ' · ',
    width,
  )
}

const verdictColors = {
  unnoticed: 'green',
  usual: 'yellow',
  first: 'dim',
  unmeasured: 'dim',
  noticed: 'red',
  worse: 'red',
} as const satisfies Record<Verdict['kind'], string>

function verdict({ receipt, paint, width }: Page): string[] {
  const { kind, sentence } = receipt.verdict ?? verdictOf(receipt)
  return flow(sentence.split(' '), ' ', width - indent).map(
    (line) => ' '.repeat(indent) + paint(verdictColors[kind], line),
  )
}

function time(page: Page): string[] {
  const { receipt, paint } = page
  const { floor, waiting, overheadMs } = receipt
  const sum = [
    `${formatDuration(floor.ms)} floor`,
    ...(waiting.ms >= 0.5 ? [`${formatDuration(waiting.ms)} waiting`] : []),
    paint('bold', `${formatDuration(overheadMs)} overhead`),
  ]
  const labels = { roundTrip: 'round trip', inFlight: 'requests in flight', commands: 'your commands' }
  const parts = (all: Record<string, number>) =>
    Object.entries(all)
      .filter(([, ms]) => ms >= 0.5)
      .map(([name, ms]) => `${labels[name as keyof typeof labels] ?? name} ${formatDuration(ms)}`)
  return [
    ...section(page, 'time', sum, ' + '),
    ...(floor.ms >= 0.5 ? section(page, 'floor', parts(floor.parts)) : []),
    ...(waiting.ms >= 0.5 ? section(page, 'waiting', parts(waiting.parts)) : []),
  ]
}

/** Where the time went: who did what, in order. What is under a hundredth of the time does not help anyone. */
function path(page: Page): string[] {
  const { receipt, paint } = page
  const least = Math.max(1, receipt.seconds * 10)
  const groups: { server: string | null; parts: string[]; ms: number }[] = []
  for (const piece of receipt.criticalPath) {
    if (piece.ms < least) continue
    const last = groups.at(-1)
    const part = `${label(piece.name)} ${formatDuration(piece.ms)}`
    if (last && last.server === piece.server && piece.server !== null) {
      last.parts.push(part)
      last.ms += piece.ms
    } else groups.push({ server: piece.server, parts: [part], ms: piece.ms })
  }
  const enough = groups.toSorted((a, b) => b.ms - a.ms).slice(0, rowsAtMost)
  const shown = groups
    .filter((group) => enough.includes(group))
    .map((group) =>
      group.server === null ? group.parts[0]! : `${paint('bold', group.server)} ${group.parts.join(', ')}`,
    )
  return shown.length === 0 ? [] : section(page, 'path', groups.length > enough.length ? [...shown, '…'] : shown, ' → ')
}

function moved(page: Page): string[] {
  const { receipt } = page
  const got = receipt.servers.filter((server) => server.bytes > 0)
  const most = got.reduce((bytes, server) => Math.max(bytes, server.bytes), 0)
  const parts =
    got.length === 0
      ? ['nothing: all was there']
      : [
          `${formatBytes(receipt.bytes)} in ${number(receipt.objects)} ${receipt.objects === 1 ? 'object' : 'objects'}`,
          `to ${got.length} ${got.length === 1 ? 'server' : 'servers'}`,
          `${formatBytes(most)} each at most`,
        ]
  return [
    ...(receipt.servers.length === 0 ? [] : section(page, 'sent', got.length > 1 ? parts : parts.slice(0, 2))),
    ...(receipt.skewMs === null || receipt.skewMs < 0.5
      ? []
      : section(page, 'skew', [`${formatDuration(receipt.skewMs)} from the first switch to the last`])),
  ]
}

function cuts(page: Page): string[] {
  const { cut } = page.receipt
  const what = {
    drain: ['request', "when the drain's time was up"],
    stop: ['connection', 'when the release before was killed'],
  } as const
  const parts = cut
    .slice(0, rowsAtMost)
    .map(
      ({ server, count, when }) =>
        `${server} ${count === null ? 'some' : number(count)} ${what[when][0]}${count === 1 ? '' : 's'} ${what[when][1]}`,
    )
  return parts.length === 0
    ? []
    : section(page, 'cut', cut.length > parts.length ? [...parts, `${cut.length - parts.length} more servers`] : parts)
}

function capacity(page: Page): string[] {
  const { capacity: held } = page.receipt
  return held === null || held.least === 1
    ? []
    : section(page, 'capacity', [
        `${Math.round(held.least * 100)} % of the servers in traffic at least`,
        `${Math.round(held.mean * 100)} % on average`,
      ])
}

/** The causes by name; `dploy explain` has the rest. */
function why(page: Page): string[] {
  const { causes, number } = page.receipt
  if (causes.length === 0) return []
  return section(page, 'why', [
    ...causes.map(
      ({ id, servers }) =>
        causeTable[id].title +
        (servers.length === 0 ? '' : ` (${servers.length === 1 ? servers[0] : `${servers.length} servers`})`),
    ),
    `dploy explain ${number}`,
  ])
}

function requests(page: Page): string[] {
  const { traffic } = page.receipt
  const lines: string[] = []
  if (traffic.source === 'probe') {
    const ms = (name: string, value: number | null) => (value === null ? [] : [`${name} ${formatDuration(value)}`])
    lines.push(
      ...section(page, 'probe', [
        `${number(traffic.seen)} seen`,
        `${number(traffic.failed)} failed`,
        `${number(traffic.stalled)} stalled`,
        ...ms('usual', traffic.usualMs),
        ...ms('p99', traffic.p99),
        ...ms('slowest', traffic.slowestMs),
      ]),
    )
  }
  if (traffic.unserved > 0)
    lines.push(
      ...section(page, traffic.source === 'probe' ? '' : 'probe', [
        `${number(traffic.unserved)} sent before anything answered`,
      ]),
    )
  const counts = traffic.balancer
  if (counts) {
    const again = counts.retries + counts.redispatches
    const parts = [
      `${number(counts.requests)} requests`,
      `${number(counts.serverErrors)} answered 5xx`,
      again === 0 ? '0 tried again' : page.paint('yellow', `${number(again)} tried again`),
    ]
    lines.push(...section(page, 'balancer', counts.restarted ? [...parts, 'at least: it was restarted'] : parts))
  }
  const { users } = traffic
  if (users && users.new.requests > 0) {
    const of = ({ requests, failed }: { requests: number; failed: number }) =>
      `${number(requests)} (${number(failed)} errors)`
    lines.push(...section(page, 'releases', [`old ${of(users.old)}`, `new ${of(users.new)}`]))
  }
  return lines
}

function noticed(page: Page): string[] {
  const { traffic } = page.receipt
  if (traffic.noticed.length === 0) return []
  const rows = traffic.noticed
    .slice(0, noticedAtMost)
    .map((one) => [
      `at ${(one.at / 1000).toFixed(2)} s`,
      page.paint('red', one.what),
      cause(one),
      duringText(one.during),
    ])
  const room = page.width - indent
  const lines =
    room >= 70
      ? columns(rows, columnWidths(rows, room))
      : rows.flatMap(([at, what, why, where]) => [`${at} ${what}: ${why}`, ...(where === '' ? [] : [`  ${where}`])])
  const more = traffic.failed + traffic.stalled - rows.length
  return [
    '',
    ...lines.map((line) => ' '.repeat(indent) + line),
    ...(more > 0 ? [page.paint('dim', `  and ${number(more)} more`)] : []),
  ]
}

function cause(one: NoticedRequest): string {
  if (one.what === 'stalled') return `answered after ${formatDuration(one.ms)}`
  return one.error ?? `answered ${one.status}`
}

function duringText(during: readonly During[]): string {
  return during
    .map((one) =>
      one.count === 0
        ? `during ${label(one.name)}`
        : `${one.servers.join(', ')}${one.count > one.servers.length ? ` and ${one.count - one.servers.length} more` : ''}: ${label(one.name)}`,
    )
    .join('; ')
}

function servers(page: Page): string[] {
  const { receipt, width, color, paint } = page
  if (receipt.servers.length === 0) return []
  const rows =
    receipt.servers.length <= rowsAtMost
      ? receipt.servers.map((server) => serverRow(server, paint))
      : batchRows(receipt.servers, paint)
  const cells = rows.map((row) => row.cells)
  const widths = columnWidths(cells, width - indent)
  const room = Math.min(widestBar, width - indent - widths.reduce((sum, one) => sum + one + 2, 0) - 2)
  const texts = columns(cells, widths, { align: ['left', 'left', 'right', 'right'] })
  const used = widths.reduce((sum, one) => sum + one, 0) + 2 * (widths.length - 1)
  const bars = room >= narrowestBar && rows.some((row) => row.spans.length > 0)
  const edge = paint('dim', '│')
  const lines = texts.map((text, index) =>
    bars
      ? `${cell(text, used)}  ${edge}${waterfall(rows[index]!.spans, receipt.seconds * 1000, room, color)}${edge}`
      : text,
  )
  const meaning = waterfallLegend(
    rows.flatMap((row) => row.spans),
    color,
  ).join('  ')
  const legend = bars
    ? [' '.repeat(Math.max(0, Math.min(used + 3, width - indent - stringWidth(meaning)))) + meaning]
    : []
  return ['', ...lines, ...legend].map((line) => (line === '' ? line : ' '.repeat(indent) + line))
}

interface Row {
  cells: string[]
  spans: ReceiptServer['spans']
}

function serverRow(server: ReceiptServer, paint: Paint): Row {
  return {
    cells: [
      server.name,
      outcome(server.outcome, paint),
      server.bytes > 0 ? formatBytes(server.bytes) : '',
      busy(server),
    ],
    spans: server.spans,
  }
}

/** A row per batch, drawn as its slowest server; what did not come out well is named. */
function batchRows(all: readonly ReceiptServer[], paint: Paint): Row[] {
  const groups = [...Map.groupBy(all, (server) => server.batch)].sort(([a], [b]) => (a ?? Infinity) - (b ?? Infinity))
  return groups.flatMap(([batch, members]) => {
    const slowest = members.toSorted((a, b) => endOf(b) - endOf(a))[0]!
    const counts = [...Map.groupBy(members, (server) => server.outcome)].sort(([, a], [, b]) => b.length - a.length)
    const bad = members.filter((server) => isBad(server.outcome))
    const row = {
      cells: [
        batch === null ? 'others' : `batch ${batch + 1}`,
        counts.map(([name, list]) => outcome(name, paint, list.length)).join(', '),
        formatBytes(members.reduce((sum, server) => sum + server.bytes, 0)),
        busy(slowest),
      ],
      spans: slowest.spans,
    }
    const named = bad.length === members.length && bad.length > rowsAtMost ? [] : bad.slice(0, rowsAtMost)
    return [
      row,
      ...named.map((server) => ({
        cells: [`  ${server.name}`, outcome(server.outcome, paint), '', busy(server)],
        spans: server.spans,
      })),
    ]
  })
}

/** Time from the server's first step to its last, for people. */
function busy(server: ReceiptServer): string {
  if (server.spans.length === 0) return ''
  return formatDuration(
    endOf(server) - server.spans.reduce((start, span) => Math.min(start, span.start), Number.POSITIVE_INFINITY),
  )
}

function endOf(server: ReceiptServer): number {
  return server.spans.reduce((end, span) => Math.max(end, span.end), 0)
}

function outcome(name: ServerOutcome, paint: Paint, count?: number): string {
  const text = count === undefined ? name : `${count} ${name}`
  if (name === 'switched') return paint('green', `✓ ${text}`)
  return isBad(name) ? paint('red', `✗ ${text}`) : paint('dim', `· ${text}`)
}

function isBad(name: ServerOutcome): boolean {
  return name === 'failed' || name === 'unreachable' || name === 'reverted'
}

function section(page: Page, name: string, parts: readonly string[], separator = ' · '): string[] {
  const lines = flow(parts, separator, page.width - indent - labelWidth)
  return lines.map(
    (line, index) => ' '.repeat(indent) + page.paint('dim', cell(index === 0 ? name : '', labelWidth)) + line,
  )
}

function label(name: string): string {
  const own = name.slice(name.lastIndexOf('.') + 1)
  if (own === 'in_flight') return 'requests in flight'
  if (own === 'between') return 'between steps'
  return own.replaceAll('_', ' ')
}

/** With a comma between thousands, whatever the locale. */
function number(value: number): string {
  return String(value).replaceAll(/\B(?=(\d{3})+$)/g, ',')
}
