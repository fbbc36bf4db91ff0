import type { Balancer } from '../../balancers/contract.ts'
import type { BalancerConfig } from '../../protocol/config/config.ts'
import { causeTable, type CauseId } from '../../protocol/causes.ts'
import { formatDuration } from '../../protocol/duration.ts'
import type { Cause, CriticalPiece, NoticedRequest, ReceiptServer } from '../../protocol/receipt.ts'
import type { Span } from '../../protocol/agent-messages.ts'
import { stallMs } from './sample.ts'
import { suggest } from './suggestions.ts'

/** What is known of the balancer and of the way to deploy. Milliseconds. */
export interface DeploymentFacts {
  balancer: BalancerConfig['kind']
  /** What is changed there ends idle connections of users. */
  reloads: boolean
  remedies: NonNullable<Balancer['remedies']>
  /** It takes servers out of traffic. */
  drains: boolean
  /** It was started again while the deployment ran. */
  restarted: boolean
  /** The release boots beside the old one. */
  warm: boolean
  /** Servers that were out of traffic from the start, as the group that did not serve. */
  idle: readonly string[]
  drainTimeout: number
  stopTimeout: number
  /** Requests that were still in flight when a drain's time was up, by server; null: some may have been. */
  cut: ReadonlyMap<string, number | null>
  /** From when until when the release before was ended, by server, where another had taken over beside it. */
  retired: ReadonlyMap<string, { start: number; end: number; killed: boolean; connections: number }>
  /** Servers at which the balancer counted connections or answers that failed meanwhile. */
  failedAt: readonly string[]
  /** What suggestions quote. */
  environment: string
  probePath: string
  hooks: Readonly<Partial<Record<'after_stage' | 'before_activate' | 'after_activate', string>>>
}

export type Noticed = Omit<NoticedRequest, 'cause' | 'during' | 'logged'>
type Server = Pick<ReceiptServer, 'name' | 'spans' | 'outcome'>
export interface CausesInput {
  noticed: readonly Noticed[]
  servers: readonly Server[]
  path: readonly CriticalPiece[]
  /** Milliseconds from start to end. */
  total: number
  facts: DeploymentFacts
}

interface Judgement {
  cause: CauseId
  /** More than one where it cannot be told apart. */
  servers: readonly string[]
  step: string | null
  evidence: string
}

/** Two clocks, and a signal on its way, differ by so much. Milliseconds. */
const slack = 60
/** For so long after a server is back, what fails there is its start's doing; what is only slow, shorter. Milliseconds. */
const warmingUp = 15_000
const warmingUpSlowly = 2_000
/** So near to a drain's or a registration's edges the balancer was reloaded. Milliseconds. */
const reloading = 300
/** From so long on a step is worth a word. Milliseconds. */
const slowAtLeast = 3_000

/**
 * Lays each noticed request against the steps of every server and says why it was noticed, and then what made the
 * deployment slow. Pure. Answers a judgement for each request, in their order, and the causes, the weightiest first.
 */
export function causesOf(input: CausesInput): { judged: { cause: CauseId; server: string | null }[]; causes: Cause[] } {
  const lanes = input.servers.map((server) => laneOf(server, input.facts))
  const onlyPosts = input.noticed.every((one) => one.method === 'POST')
  const judged = input.noticed.map((one) => judge(one, lanes, input, onlyPosts))
  const causes: Cause[] = [...Map.groupBy(judged, (one) => one.cause)].map(([id, group]) => ({
    id,
    servers: [...new Set(group.flatMap((one) => one.servers))].sort(),
    step: mostUsual(group.map((one) => one.step)),
    requests: group.length,
    ms: null,
    evidence: [...new Set(group.map((one) => one.evidence))].slice(0, 3),
    suggestion: suggest(id, input.facts, mostUsual(group.map((one) => one.step))),
  }))
  causes.push(...slowSteps(lanes, input))
  const rank = (cause: Cause) => (causeTable[cause.id].of === 'slow' ? 2 : cause.id === 'outside' ? 1 : 0)
  causes.sort((a, b) => rank(a) - rank(b) || b.requests - a.requests || (b.ms ?? 0) - (a.ms ?? 0))
  return {
    judged: judged.map(({ cause, servers }) => ({ cause, server: servers.length === 1 ? servers[0]! : null })),
    causes,
  }
}

/** One server over time. Null: it never came to that. */
interface Lane {
  name: string
  outcome: ReceiptServer['outcome']
  spans: readonly Span[]
  /** Out of traffic from its start on; null too where nothing takes it out. */
  drain: Span | null
  /** From asking the old processes to end until the new ones were started; warm, until the old ones had ended. */
  stop: Span | null
  /** Until when nothing answered, and until when nothing was to be sent. */
  healthy: number
  back: number
}

function laneOf(server: Server, facts: DeploymentFacts): Lane {
  const of = (name: string) => server.spans.find((span) => span.name === name) ?? null
  const healthy = of('health')?.end ?? of('activate')?.end ?? Number.POSITIVE_INFINITY
  const stop = facts.warm ? ended(facts.retired.get(server.name)) : (of('stop') ?? of('switch'))
  return {
    name: server.name,
    outcome: server.outcome,
    spans: server.spans,
    drain: facts.drains && !facts.warm ? of('drain') : null,
    stop,
    healthy,
    back: facts.drains ? (of('register')?.end ?? healthy) : healthy,
  }
}

function ended(retired: { start: number; end: number } | undefined): Span | null {
  return retired ? { name: 'retire', start: retired.start, end: retired.end } : null
}

function judge(one: Noticed, all: readonly Lane[], { facts, total }: CausesInput, onlyPosts: boolean): Judgement {
  const named = all.filter((lane) => lane.name === one.server)
  const lanes = named.length > 0 ? named : all
  // What a balancer tried again was answered by another server than the one that let it wait.
  const suspects = one.what === 'stalled' ? all : lanes
  return (
    missingAsset(one, lanes) ??
    broken(one, suspects, facts) ??
    whileDown(one, suspects) ??
    byHook(one, suspects) ??
    byReload(one, all, facts) ??
    byRace(one, facts, onlyPosts) ??
    afterSwitch(one, lanes, total) ?? {
      cause: 'outside',
      servers: one.server === null ? [] : [one.server],
      step: null,
      evidence: `${said(one)}; no step of the deployment fits`,
    }
  )
}

/** A file that was there is not there, from the first switch on. */
function missingAsset(one: Noticed, lanes: readonly Lane[]): Judgement | null {
  if (one.status !== 404 && one.status !== 410) return null
  const lane = lanes.filter(({ spans }) => switchOf(spans) !== null && switchOf(spans)!.start <= endOf(one)).at(-1)
  return lane
    ? {
        cause: 'old_assets_missing',
        servers: [lane.name],
        step: 'switch',
        evidence: `${said(one)}; ${lane.name} switched at ${seconds(switchOf(lane.spans)!.start)}`,
      }
    : null
}

/** It was sent before the old processes were told to end, and broke when they ended. */
function broken(one: Noticed, lanes: readonly Lane[], facts: DeploymentFacts): Judgement | null {
  if (isRefused(one)) return null
  const end = endOf(one)
  const late = one.what === 'stalled' ? one.ms : slack
  // Beside another release the old one may take requests until it has ended.
  const sentBefore = (stop: Span) =>
    facts.warm ? stop.end : stop.start + (one.ms > 2 * slack && one.what === 'failed' ? slack : 0)
  const fits = lanes.filter(
    ({ name, stop, drain }) =>
      stop !== null &&
      one.at < sentBefore(stop) &&
      end >= stop.start - slack &&
      end <= stop.end + late &&
      (drain === null || facts.cut.has(name)),
  )
  // All end together where all took over together: of those that fit, one at which the balancer counted failures is meant.
  const counted = fits.filter(({ name }) => facts.failedAt.includes(name))
  const lane = (counted.length > 0 ? counted : fits).sort(
    (a, b) => Math.abs(a.stop!.start - end) - Math.abs(b.stop!.start - end),
  )[0]
  if (!lane) return null
  const stop = lane.stop!
  const killed = stop.end - stop.start >= facts.stopTimeout - slack && end - stop.start >= facts.stopTimeout / 2
  const cut = facts.cut.get(lane.name)
  const why = facts.warm
    ? 'the new release had taken over'
    : lane.drain === null
      ? 'it was not taken out of traffic first'
      : `${cut ?? 'some'} requests were in flight when the drain's time (${formatDuration(facts.drainTimeout)}) was up`
  return {
    cause: killed ? 'killed_in_flight' : 'socket_closed_at_once',
    servers: [lane.name],
    step: 'switch',
    evidence: `${said(one)}, sent ${formatDuration(Math.abs(stop.start - one.at))} ${one.at <= stop.start ? 'before' : 'after'} ${facts.warm ? `the release before was told to stop on ${lane.name}` : `${lane.name} was told to stop`}; ${why}`,
  }
}

/** Nothing could answer on a server, and it was asked all the same. */
function whileDown(one: Noticed, lanes: readonly Lane[]): Judgement | null {
  if (!isUnanswered(one)) return null
  // Where another release has taken over beside it, the end of one leaves nobody without an answer.
  const lane = lanes.find(
    ({ stop, drain, healthy }) =>
      stop !== null &&
      stop.start < healthy &&
      (drain === null || (one.server !== null && one.what === 'failed')) &&
      endOf(one) >= stop.start - (drain === null ? slack : 0) &&
      one.at < healthy + (drain === null ? slack : 0),
  )
  if (!lane) return null
  const stop = lane.stop!
  const until = lane.healthy === Number.POSITIVE_INFINITY ? '' : ` to ${seconds(lane.healthy)}`
  const evidence = `${said(one)}; ${lane.name} did not serve from ${seconds(stop.start)}${until}${lane.drain === null ? ' and was not taken out of traffic' : ''}`
  const step =
    lane.spans.find(
      (span) => ['switch', 'boot', 'health'].includes(span.name) && span.start <= endOf(one) && endOf(one) <= span.end,
    )?.name ?? 'switch'
  return {
    cause: isRefused(one) ? 'refused_while_registered' : 'balancer_unaware',
    servers: [lane.name],
    step,
    evidence,
  }
}

/** A hook ran on a server in traffic; from then on, until the deployment itself touched the server, it did not answer. */
function byHook(one: Noticed, lanes: readonly Lane[]): Judgement | null {
  if (!isUnanswered(one)) return null
  const found = lanes.flatMap((lane) => {
    const touched = (lane.drain ?? lane.stop)?.start ?? Number.POSITIVE_INFINITY
    const ran = lane.spans.find((span) => {
      const name = own(span.name)
      if (endOf(one) < span.start - slack) return false
      if (name === 'after_stage' || name === 'before_activate')
        return one.at < touched + slack && (name === 'after_stage' || lane.drain === null)
      return name === 'after_activate' && lane.outcome !== 'switched'
    })
    return ran ? [{ lane, ran }] : []
  })
  const [first] = found
  if (!first) return null
  const hook = own(first.ran.name)
  const servers = found.filter(({ ran }) => own(ran.name) === hook).map(({ lane }) => lane.name)
  return {
    cause: 'hook_stopped_service',
    servers,
    step: hook,
    evidence: `${said(one)}; the hook ${hook} ran on ${servers.join(', ')} from ${seconds(first.ran.start)} to ${seconds(first.ran.end)}`,
  }
}

/** The balancer itself ended a connection. */
function byReload(one: Noticed, lanes: readonly Lane[], facts: DeploymentFacts): Judgement | null {
  if (!isClosed(one) && !isRefused(one)) return null
  const end = endOf(one)
  const near = lanes
    .flatMap((lane) =>
      lane.spans.filter((span) => span.name === 'drain' || span.name === 'register').map((span) => ({ lane, span })),
    )
    .find(({ span }) => [span.start, span.end].some((edge) => Math.abs(edge - end) <= reloading))
  if (!(facts.reloads && near) && !facts.restarted) return null
  const why = near
    ? `${near.lane.name} was ${near.span.name === 'drain' ? 'taken out of traffic' : 'put back'} then`
    : 'the balancer was started again while the deployment ran'
  return { cause: 'balancer_reload', servers: [], step: near?.span.name ?? null, evidence: `${said(one)}; ${why}` }
}

/** A server or balancer ended an idle connection in the instant in which it was used; what may be sent again was. */
function byRace(one: Noticed, facts: DeploymentFacts, onlyPosts: boolean): Judgement | null {
  const closed = isClosed(one) || (one.status === 502 && onlyPosts)
  if (!closed || one.method !== 'POST' || one.ms >= stallMs) return null
  return {
    cause: 'keep_alive_race',
    servers: one.server === null ? facts.failedAt : [one.server],
    step: null,
    evidence: `${said(one)} within ${formatDuration(one.ms)}; nothing was stopped then, and only requests that nobody may send again failed`,
  }
}

/** A server ran the new release, its health check had succeeded, and it could not answer. */
function afterSwitch(one: Noticed, lanes: readonly Lane[], total: number): Judgement | null {
  const found = lanes.filter(({ spans, healthy }) => switchOf(spans) !== null && healthy <= endOf(one) + slack)
  const lane = found.sort((a, b) => b.healthy - a.healthy)[0]
  if (!lane) return null
  const since = Math.max(0, one.at - Math.min(lane.back, lane.healthy))
  const evidence = `${said(one)}, ${formatDuration(since)} after the health check of ${lane.name} had succeeded`
  if (one.what === 'stalled')
    return since <= (one.server === null ? warmingUpSlowly : warmingUp)
      ? { cause: 'not_ready', servers: [lane.name], step: 'health', evidence }
      : null
  const fails =
    lane.outcome !== 'switched' || (one.status !== null && ![502, 503, 504].includes(one.status)) || since > warmingUp
  return {
    cause: fails ? 'new_release_fails' : 'not_ready',
    servers: [lane.name],
    step: endOf(one) >= total - slack ? 'bake' : 'health',
    evidence,
  }
}

/** Steps that took long, whoever noticed. */
function slowSteps(lanes: readonly Lane[], { path, facts }: CausesInput): Cause[] {
  const causes: Cause[] = []
  const add = (id: CauseId, step: string, names: readonly string[], least: number, what: string) => {
    const found = lanes.flatMap((lane) => {
      const ms = lane.spans
        .filter((span) => names.includes(span.name))
        .reduce((sum, span) => sum + span.end - span.start, 0)
      return ms >= least ? [{ name: lane.name, ms }] : []
    })
    if (found.length === 0) return
    const slowest = found.reduce((a, b) => (b.ms > a.ms ? b : a))
    const onPath = path
      .filter((piece) => piece.server !== null && names.includes(piece.name))
      .reduce((sum, piece) => sum + piece.ms, 0)
    causes.push({
      id,
      servers: found.map(({ name }) => name).sort(),
      step,
      requests: 0,
      ms: Math.round(onPath),
      evidence: [`${what} on ${slowest.name} took ${formatDuration(slowest.ms)}`],
      suggestion: suggest(id, facts, step),
    })
  }
  if (!facts.warm) {
    add(
      'stop_ignored',
      'switch',
      lanes.some((lane) => lane.spans.some((span) => span.name === 'stop')) ? ['stop'] : ['switch'],
      Math.max(1, facts.stopTimeout - slack),
      'ending the old processes',
    )
    add('slow_boot', 'boot', ['boot', 'health'], slowAtLeast, 'from start to the first healthy answer')
  }
  add('slow_drain', 'drain', ['in_flight'], slowAtLeast, 'waiting for requests in flight')
  add('slow_register', 'register', ['register'], slowAtLeast, 'waiting for the balancer to see it up')
  return causes
}

/** Of several equally usual ones the first. */
function mostUsual<T>(values: readonly T[]): T {
  return [...Map.groupBy(values, (value) => value).values()].reduce((most, group) =>
    group.length > most.length ? group : most,
  )[0]!
}

function switchOf(spans: readonly Span[]): Span | null {
  return spans.find((span) => span.name === 'switch' || span.name === 'stop') ?? null
}

function isRefused(one: Noticed): boolean {
  return one.error === 'connection refused'
}

/** The connection ended instead of an answer. */
function isClosed(one: Noticed): boolean {
  return one.error !== null && /^connection (reset|closed)|cut off/.test(one.error)
}

/** Nobody answered it in time: not the application's own no. */
function isUnanswered(one: Noticed): boolean {
  return one.what === 'stalled' || one.status === null || [502, 503, 504].includes(one.status)
}

function own(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1)
}

function endOf(one: Noticed): number {
  return one.at + one.ms
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`
}

function said(one: Noticed): string {
  const what =
    one.what === 'stalled' ? `answered after ${formatDuration(one.ms)}` : (one.error ?? `answered ${one.status}`)
  return `${one.method} at ${seconds(one.at)}: ${what}`
}
