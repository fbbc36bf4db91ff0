import type { LoggedRequest, TrafficCounters } from '../../balancers/contract.ts'
import type { Span } from '../../protocol/agent-messages.ts'
import {
  spanKind,
  type BalancerCounts,
  type During,
  type NoticedRequest,
  type Traffic,
  type UserTraffic,
} from '../../protocol/receipt.ts'
import { loggedOf, saidByLog } from './logged.ts'
import { enoughAnswers, quantile, served, usualOf, verdictOf, type Sample, type Usual } from './sample.ts'

const noticedLimit = 200
const timelinePoints = 600
const namedServers = 5

export interface TrafficInput {
  /** In order of time; those from before the start only tell what is usual. */
  samples: readonly Sample[]
  counters: { before: TrafficCounters | null; after: TrafficCounters | null }
  users: UserTraffic | null
  /** What the balancer's log tells of requests of the probe. */
  logged: readonly LoggedRequest[]
  /** Epoch milliseconds. */
  startedAt: number
  /** Milliseconds from start to end. */
  total: number
  /** When traffic was first touched, relative; infinity if it never was. */
  touched: number
  /** Nothing served before this deployment. */
  first: boolean
  /** What each server and the control plane did, innermost. */
  servers: readonly { name: string; pieces: readonly Span[] }[]
  control: readonly Span[]
}

/** What users noticed of a deployment, by the definitions of the receipt's traffic. */
export function trafficOf(input: TrafficInput): Traffic {
  const balancer = difference(input.counters.before, input.counters.after)
  const sent = input.samples.map((sample) => ({ ...sample, at: sample.at - input.startedAt }))
  const known = input.first ? served(sent) : sent
  const seen = known.filter((sample) => sample.at >= 0 && sample.at <= input.total)
  const unserved = sent.length - known.length
  if (seen.length === 0) return { ...withoutProbe(balancer, unserved), users: input.users }
  const usual = usualBefore(known, input.touched)
  const judged = seen.map((sample) => ({ sample, verdict: verdictOf(sample, usual) }))
  const answers = seen.filter((sample) => sample.status !== null).map((sample) => sample.ms)
  const noticed = judged.flatMap(({ sample, verdict }) => (verdict === 'good' ? [] : [{ ...sample, what: verdict }]))
  return {
    source: 'probe',
    seen: seen.length,
    failed: noticed.filter((one) => one.what === 'failed').length,
    stalled: noticed.filter((one) => one.what === 'stalled').length,
    unserved,
    slowestMs: tenths(seen.reduce((slowest, sample) => Math.max(slowest, sample.ms), 0)),
    usualMs: usual.ms === null ? null : tenths(usual.ms),
    p50: answers.length === 0 ? null : tenths(quantile(answers, 0.5)),
    p99: answers.length === 0 ? null : tenths(quantile(answers, 0.99)),
    noticed: noticed.slice(0, noticedLimit).map((one) => {
      const logged = loggedOf({ ...one, at: one.at + input.startedAt }, input.logged)
      return {
        at: tenths(one.at),
        ms: tenths(one.ms),
        what: one.what,
        status: one.status,
        error: one.error,
        during: during(one, input),
        cause: null,
        server: serverOf(one.servedBy ?? logged?.server ?? undefined, input.servers),
        method: one.method ?? 'GET',
        connection: one.connection ?? 'fresh',
        logged: logged === null ? null : saidByLog(logged),
      }
    }),
    balancer,
    users: input.users,
    timeline: timeline(judged, input.total),
  }
}

/** A server's name as the application or the balancer writes it: alone, with its backend before it, or with a domain behind. */
function serverOf(servedBy: string | undefined, servers: TrafficInput['servers']): string | null {
  if (servedBy === undefined) return null
  const words = servedBy.split(/[\s,/:]+/).flatMap((word) => [word, word.split('.')[0]!])
  return servers.find(({ name }) => words.includes(name))?.name ?? null
}

function withoutProbe(balancer: BalancerCounts | null, unserved: number): Omit<Traffic, 'users'> {
  return {
    source: balancer === null ? 'none' : 'balancer',
    seen: balancer?.requests ?? 0,
    failed: balancer?.serverErrors ?? 0,
    stalled: balancer?.retries ?? 0,
    unserved,
    slowestMs: null,
    usualMs: null,
    p50: null,
    p99: null,
    noticed: [],
    balancer,
    timeline: { every: 250, points: [] },
  }
}

function usualBefore(samples: readonly Sample[], touched: number): Usual {
  // A request that was still unanswered when traffic was touched is no witness of the time before.
  const before = samples.filter((sample) => sample.status !== null && sample.at + sample.ms < touched)
  const usual = usualOf(before)
  const good = before.filter((sample) => sample.status! < (usual.refuses ? 500 : 400))
  if (good.length >= enoughAnswers) return usual
  // Few answers before are no measure of time, but tell what the address answers when nothing was touched.
  return usualOf(samples, before.some((sample) => sample.status! < 500) ? usual.refuses : undefined)
}

/** A balancer that was started again counts from zero, so that what it says at the end is all that is known. */
function difference(before: TrafficCounters | null, after: TrafficCounters | null): BalancerCounts | null {
  if (before === null || after === null) return null
  const names = ['requests', 'serverErrors', 'connectionErrors', 'responseErrors', 'retries', 'redispatches'] as const
  const restarted = names.some((name) => after[name] < before[name])
  const count = (name: (typeof names)[number]) => after[name] - (restarted ? 0 : before[name])
  return {
    requests: count('requests'),
    serverErrors: count('serverErrors'),
    connectionErrors: count('connectionErrors'),
    responseErrors: count('responseErrors'),
    retries: count('retries'),
    redispatches: count('redispatches'),
    restarted,
  }
}

/** What breaks requests, the most likely first; anything else comes after these. */
const suspicion = [
  'boot',
  'switch',
  'health',
  'before_activate',
  'after_activate',
  'activate',
  'drain',
  'in_flight',
  'register',
]

/** What ran when a request was sent, or, as it may have been cut, when it failed. */
function during(one: Pick<NoticedRequest, 'at' | 'ms' | 'what'>, input: TrafficInput): During[] {
  const at = atTime(one.at, input)
  const found = one.what === 'failed' && at.length === 0 ? atTime(one.at + one.ms, input) : at
  if (found.length > 0) return found.slice(0, 3)
  const phase = input.control.find((span) => covers(span, one.at))
  return phase ? [{ name: phase.name, servers: [], count: 0 }] : []
}

function atTime(time: number, input: TrafficInput): During[] {
  const groups = new Map<string, During>()
  for (const server of input.servers) {
    const piece = server.pieces.find((span) => covers(span, time))
    if (!piece) continue
    const group = groups.get(piece.name) ?? { name: piece.name, servers: [], count: 0 }
    group.count += 1
    if (group.servers.length < namedServers) group.servers.push(server.name)
    groups.set(piece.name, group)
  }
  return [...groups.values()].sort((a, b) => rank(a.name) - rank(b.name) || b.count - a.count)
}

function rank(name: string): number {
  const kind = spanKind(name)
  const index = suspicion.findIndex((one) => one === name || one === kind)
  return index < 0 ? suspicion.length : index
}

function covers(span: Span, time: number): boolean {
  return span.start <= time && time < span.end
}

function timeline(
  judged: readonly { sample: Sample; verdict: ReturnType<typeof verdictOf> }[],
  total: number,
): Traffic['timeline'] {
  const every =
    [250, 500, 1_000, 2_000, 5_000, 10_000, 30_000].find((step) => total / step <= timelinePoints) ??
    Math.ceil(total / timelinePoints / 60_000) * 60_000
  const points = new Map<number, Traffic['timeline']['points'][number]>()
  for (const { sample, verdict } of judged) {
    const at = Math.floor(sample.at / every) * every
    const point = points.get(at) ?? { at, seen: 0, failed: 0, stalled: 0, slowestMs: 0 }
    point.seen += 1
    if (verdict !== 'good') point[verdict] += 1
    point.slowestMs = Math.max(point.slowestMs, tenths(sample.ms))
    points.set(at, point)
  }
  return { every, points: [...points.values()].sort((a, b) => a.at - b.at) }
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10
}
