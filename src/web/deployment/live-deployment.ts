import type { DeploymentEvent, DeploymentState, Plan, StepState, Waiting } from '../../protocol/deployment.ts'
import { DployError, type ErrorReport } from '../../protocol/errors.ts'
import type { Receipt } from '../../protocol/receipt.ts'
import { innermost } from '../../protocol/spans.ts'
import { groupOf, type StepGroup } from '../../protocol/waterfall.ts'
import { client } from '../api/session.ts'
import { deploymentTone, isOver, stepTones } from '../components/state.tsx'
import { LogStore } from './log-store.ts'

/** What a server did from `start` to `end`, milliseconds after the deployment's begin; `end` null: does it now. */
export interface Segment {
  group: StepGroup | 'failed'
  name: string
  start: number
  end: number | null
}

export interface LiveServer {
  name: string
  batch: number | null
  state: StepState
  note: string
  failure: ErrorReport | null
  segments: Segment[]
  /** Grows with each change, so that only rows that changed are drawn again. */
  version: number
}

/** Requests in the `every` milliseconds from `at` on; `at` in milliseconds after the deployment's begin. */
export interface TrafficPoint {
  at: number
  every: number
  seen: number
  failed: number
  stalled: number
  slowestMs: number
}

const segmentOf: Partial<Record<StepState, Segment['group']>> = { staging: 'stage', draining: 'drain', activating: 'switch', registering: 'register', reverting: 'switch' }

/**
 * A deployment as its events tell it, from the first to the last, live. Events come in thousands a second; whoever
 * watches is told once a frame.
 */
export class LiveDeployment {
  readonly number: number
  state: DeploymentState | null = null
  /** Epoch milliseconds. */
  began: number | null = null
  ended: number | null = null
  phases: { state: DeploymentState; at: number }[] = []
  plan: Plan | null = null
  servers = new Map<string, LiveServer>()
  order: LiveServer[] = []
  traffic: TrafficPoint[] = []
  counts: { seen: number; failed: number; stalled: number; slowestMs: number } | null = null
  failure: ErrorReport | null = null
  receipt: Receipt | null = null
  note = ''
  readonly log = new LogStore()
  /** Why no more events come; null while they do. */
  problem: DployError | null = null
  complete = false
  /** For measuring how late events are: when the newest was stored and when it was taken in. */
  lag: { at: number; seen: number } | null = null
  /** For whom it waits in the middle, and why. */
  waiting: Waiting | null = null
  version = 0
  #last = 0
  #countedAt = 0
  #scheduled = false
  readonly #watchers = new Set<() => void>()

  constructor(number: number) {
    this.number = number
  }

  subscribe = (watch: () => void): (() => void) => {
    this.#watchers.add(watch)
    return () => this.#watchers.delete(watch)
  }
  snapshot = (): number => this.version

  /** Follows the events until the deployment is over or the signal aborts; goes on after the last event when the connection was lost. */
  async follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this.complete) {
      try {
        for await (const event of client().stream('deploymentEvents', { params: { number: this.number }, query: { after: this.#last } }, { signal })) this.take(event)
        this.complete = true
      } catch (error) {
        if (signal.aborted) return
        if (!(error instanceof DployError) || error.code !== 'connection.closed') {
          this.problem = error instanceof DployError ? error : new DployError('internal', String(error))
          return this.#changed()
        }
        await new Promise((resolve) => setTimeout(resolve, 500))
      }
      this.#changed()
    }
  }

  take(event: DeploymentEvent): void {
    if (event.seq <= this.#last) return
    this.#last = event.seq
    this.lag = { at: event.at, seen: Date.now() }
    this.began ??= event.at
    const server = event.server === null ? undefined : this.servers.get(event.server)
    const { data } = event
    switch (data.kind) {
      case 'state':
        this.#state(event, data)
        break
      case 'plan':
        this.#plan(data.plan)
        break
      case 'step':
        if (server) this.#step(server, event.at - this.began, data)
        this.#say(event, 'step', stepText(data.state, data.failure), data.failure ? 'bad' : 'plain')
        break
      case 'progress':
        this.#noteOf(server, data.phase)
        break
      case 'note':
        this.#noteOf(server, data.text)
        this.#say(event, 'note', data.text)
        break
      case 'output':
        for (const text of data.text.replace(/\n$/, '').split('\n')) this.#say(event, 'output', text, 'plain', data.source)
        break
      case 'waiting':
        this.waiting = data.waiting
        this.#say(event, 'note', data.waiting === null ? `goes on: ${data.by}` : `waits for a person: ${data.waiting.text}`)
        break
      case 'traffic':
        this.#traffic(event.at - this.began, data)
        break
      case 'receipt':
        this.#receipt(data.receipt)
        break
      default:
        data satisfies never
    }
    this.#changed()
  }

  #state(event: DeploymentEvent, data: { state: DeploymentState; failure: ErrorReport | null }): void {
    // Time is counted from where the deployment started to run, as the receipt counts it.
    if (data.state === 'resolving' && this.phases.length <= 1) this.began = event.at
    this.state = data.state
    this.phases.push({ state: data.state, at: event.at })
    this.failure = data.failure ?? this.failure
    this.note = ''
    if (isOver(data.state)) {
      this.ended = event.at
      for (const server of this.order) endSegment(server, event.at - this.began!)
    }
    const { text, tone } = deploymentTone(data.state)
    this.#say(event, 'step', `The deployment is ${text}${data.failure ? `: ${data.failure.message}` : ''}`, tone === 'bad' || data.failure ? 'bad' : tone === 'good' ? 'good' : 'plain')
  }

  #plan(plan: Plan): void {
    this.plan = plan
    const add = (name: string, state: StepState, batch: number | null) => {
      if (this.servers.has(name)) return
      const server: LiveServer = { name, batch, state, note: '', failure: null, segments: [], version: 0 }
      this.servers.set(name, server)
      this.order.push(server)
    }
    plan.batches.forEach((names, batch) => names.forEach((name) => add(name, 'pending', batch)))
    for (const name of plan.unchanged) add(name, 'unchanged', null)
    for (const name of plan.unreachable) add(name, 'unreachable', null)
  }

  #step(server: LiveServer, at: number, data: { state: StepState; batch: number | null; failure: ErrorReport | null }): void {
    endSegment(server, at)
    server.state = data.state
    server.batch = data.batch ?? server.batch
    // What failed and then went back has still failed.
    server.failure = data.state === 'switched' ? null : (data.failure ?? server.failure)
    server.note = ''
    server.version++
    const group = segmentOf[data.state]
    if (group !== undefined) server.segments.push({ group, name: stepTones[data.state].text, start: at, end: null })
  }

  #noteOf(server: LiveServer | undefined, text: string): void {
    if (!server) {
      this.note = text
      return
    }
    server.note = text
    server.version++
  }

  #traffic(at: number, counts: { seen: number; failed: number; stalled: number; slowestMs: number }): void {
    const before = this.counts ?? { seen: 0, failed: 0, stalled: 0 }
    const every = at - this.#countedAt
    if (every > 0 && counts.seen > before.seen) {
      this.traffic.push({
        at: this.#countedAt, every, seen: counts.seen - before.seen,
        failed: Math.max(0, counts.failed - before.failed), stalled: Math.max(0, counts.stalled - before.stalled), slowestMs: counts.slowestMs,
      })
    }
    this.#countedAt = at
    this.counts = counts
  }

  /** The receipt knows better: every step that a server took, and when each request was sent. */
  #receipt(receipt: Receipt): void {
    this.receipt = receipt
    this.began = receipt.startedAt
    this.ended = receipt.finishedAt
    for (const { name, spans } of receipt.servers) {
      const server = this.servers.get(name)
      if (!server || spans.length === 0) continue
      server.segments = innermost(spans).map((span) => ({ group: groupOf(span.name), name: span.name, start: span.start, end: span.end }))
      server.version++
    }
    const { timeline, seen, failed, stalled, slowestMs } = receipt.traffic
    if (timeline.points.length > 0) {
      const end = receipt.finishedAt - receipt.startedAt
      this.traffic = timeline.points.map((point) => ({ ...point, every: Math.max(1, Math.min(timeline.every, end - point.at)) }))
      this.counts = { seen, failed, stalled, slowestMs: slowestMs ?? 0 }
    }
  }

  #say(event: DeploymentEvent, kind: 'step' | 'note' | 'output', text: string, tone: 'plain' | 'bad' | 'good' = 'plain', source: string | null = null): void {
    this.log.add({ seq: event.seq, at: event.at, server: event.server, kind, source, text, tone })
  }

  #changed(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    const tell = () => {
      this.#scheduled = false
      this.version++
      for (const watch of this.#watchers) watch()
    }
    // A page in the background gets no frames, but has to be right when it comes back.
    if (document.visibilityState === 'hidden') setTimeout(tell, 250)
    else requestAnimationFrame(tell)
  }
}

function endSegment(server: LiveServer, at: number): void {
  const last = server.segments.at(-1)
  if (!last || last.end !== null) return
  last.end = at
  server.version++
}

function stepText(state: StepState, failure: ErrorReport | null): string {
  return failure ? `${stepTones[state].text}: ${failure.message}` : stepTones[state].text
}
