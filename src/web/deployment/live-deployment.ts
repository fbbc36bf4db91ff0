import type { DeploymentEvent, DeploymentState, Plan, StepState, Waiting } from '../../protocol/deployment.ts'
import { DployError, type ErrorReport } from '../../protocol/errors.ts'
import type { Receipt } from '../../protocol/receipt.ts'
import { innermost } from '../../protocol/spans.ts'
import { groupOf } from '../../protocol/waterfall.ts'
import { client } from '../api/session.ts'
import { deploymentTone, isOver, stepTones } from '../components/state.tsx'
import { measureLag } from './lag.ts'
import { LiveServers, Paced, Watched, type LiveServer, type Segment } from './live-server.ts'
import { LogStore } from './log-store.ts'

/** Requests in the `every` milliseconds from `at` on; `at` in milliseconds after the deployment's begin. */
export interface TrafficPoint {
  at: number
  every: number
  seen: number
  failed: number
  stalled: number
  slowestMs: number
}

const segmentOf: Partial<Record<StepState, Segment['group']>> = {
  staging: 'stage',
  draining: 'drain',
  activating: 'switch',
  registering: 'register',
  reverting: 'switch',
}

/** How an agent begins what it says of a health check that it waits for. */
export const healthNote = 'health check, try '

/** More points than this are not kept: neighbours become one. */
const mostPoints = 4_000
/** How long events are taken in before the page may draw. Milliseconds. */
const slice = 8
/** How often the log is drawn again while lines come. Milliseconds. */
const logEvery = 100

/**
 * A deployment as its events tell it, from the first to the last, live. Events come in thousands a second; whoever
 * watches a part of it is told once a frame, if that part changed.
 */
export class LiveDeployment {
  readonly number: number
  state: DeploymentState | null = null
  /** Epoch milliseconds. */
  began: number | null = null
  ended: number | null = null
  phases: { state: DeploymentState; at: number }[] = []
  plan: Plan | null = null
  readonly servers = new LiveServers()
  traffic: TrafficPoint[] = []
  counts: { seen: number; failed: number; stalled: number; slowestMs: number } | null = null
  failure: ErrorReport | null = null
  receipt: Receipt | null = null
  note = ''
  readonly log = new LogStore()
  /** Why no more events come; null while they do. */
  problem: DployError | null = null
  complete = false
  followed = false
  /** For whom it waits in the middle, and why. */
  waiting: Waiting | null = null
  /** What can be watched: where it stands, its servers taken together, its traffic, its log. */
  readonly parts = { head: new Watched(), servers: new Watched(), traffic: new Watched(), log: new Paced(logEvery) }
  #last = 0
  #countedAt = 0
  #scheduled = false
  readonly #changed = new Set<keyof LiveDeployment['parts']>()

  constructor(number: number) {
    this.number = number
  }

  /** Follows the events until the deployment is over or the signal aborts; goes on after the last event when the connection was lost. */
  async follow(signal: AbortSignal): Promise<void> {
    this.followed = true
    const asked = Date.now()
    while (!signal.aborted && !this.complete) {
      try {
        let began = performance.now()
        for await (const event of client().stream(
          'deploymentEvents',
          { params: { number: this.number }, query: { after: this.#last } },
          { signal },
        )) {
          measureLag(event, asked)
          this.take(event)
          if (performance.now() - began < slice) continue
          // A log that is read from its begin comes in one flood, which no frame has to wait for.
          await nextFrame()
          began = performance.now()
        }
        this.complete = true
      } catch (error) {
        if (signal.aborted) return
        if (!(error instanceof DployError) || error.code !== 'connection.closed') {
          this.problem = error instanceof DployError ? error : new DployError('internal', String(error))
          return this.#change('head')
        }
        await new Promise((resolve) => setTimeout(resolve, 500))
      }
      this.#change('head')
    }
  }

  take(event: DeploymentEvent): void {
    if (event.seq <= this.#last) return
    this.#last = event.seq
    this.began ??= event.at
    const server = event.server === null ? undefined : this.servers.named(event.server)
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
        this.#noteOf(server, data.phase, event.at - this.began)
        break
      case 'note':
        this.#noteOf(server, data.text, event.at - this.began)
        this.#say(event, 'note', data.text)
        break
      case 'output':
        for (const text of data.text.replace(/\n$/, '').split('\n'))
          this.#say(event, 'output', text, 'plain', data.source)
        break
      case 'waiting':
        this.waiting = data.waiting
        this.#change('head')
        this.#say(
          event,
          'note',
          data.waiting === null ? `goes on: ${data.by}` : `waits for a person: ${data.waiting.text}`,
        )
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
  }

  #state(event: DeploymentEvent, data: { state: DeploymentState; failure: ErrorReport | null }): void {
    // Time is counted from where the deployment started to run, as the receipt counts it.
    if (data.state === 'resolving' && this.phases.length <= 1) this.began = event.at
    this.state = data.state
    this.phases.push({ state: data.state, at: event.at })
    this.failure = data.failure ?? this.failure
    this.note = ''
    this.#change('head', 'servers')
    if (isOver(data.state)) {
      this.ended = event.at
      for (const server of this.servers.order) {
        server.endSegment(event.at - this.began!)
        this.servers.changed(server)
      }
    }
    const { text, tone } = deploymentTone(data.state)
    this.#say(
      event,
      'step',
      `${sentence(text)}${data.failure ? `: ${data.failure.message}` : ''}`,
      tone === 'bad' || data.failure ? 'bad' : tone === 'good' ? 'good' : 'plain',
    )
  }

  #plan(plan: Plan): void {
    this.plan = plan
    this.servers.add([
      ...plan.batches.flatMap((names, batch) => names.map((name) => ({ name, batch, state: 'pending' as const }))),
      ...plan.unchanged.map((name) => ({ name, batch: null, state: 'unchanged' as const })),
      ...plan.unreachable.map((name) => ({ name, batch: null, state: 'unreachable' as const })),
    ])
    this.#change('head', 'servers', 'log')
  }

  #step(
    server: LiveServer,
    at: number,
    data: { state: StepState; batch: number | null; failure: ErrorReport | null },
  ): void {
    server.endSegment(at)
    // What failed and then went back has still failed.
    server.failure = data.state === 'switched' ? null : (data.failure ?? server.failure)
    server.note = ''
    const group = segmentOf[data.state]
    if (group !== undefined) server.segments.push({ group, name: stepTones[data.state].text, start: at, end: null })
    this.servers.move(server, data.state, data.batch)
    if (data.failure) this.#change('head')
    this.#change('servers')
  }

  #noteOf(server: LiveServer | undefined, text: string, at: number): void {
    if (!server) {
      this.note = text
      this.#change('head')
      return
    }
    server.note = text
    // The old process has ended, and the new one is waited for.
    const doing = server.segments.at(-1)
    if (text === 'boot' && doing?.end === null && doing.group === 'switch') {
      server.endSegment(at)
      server.segments.push({ group: 'boot', name: 'boot', start: at, end: null })
    }
    this.servers.changed(server)
    if (text.startsWith(healthNote)) this.#change('head')
    else this.#change()
  }

  #traffic(at: number, counts: { seen: number; failed: number; stalled: number; slowestMs: number }): void {
    const before = this.counts ?? { seen: 0, failed: 0, stalled: 0 }
    const every = at - this.#countedAt
    if (every > 0 && counts.seen > before.seen) {
      this.traffic.push({
        at: this.#countedAt,
        every,
        seen: counts.seen - before.seen,
        failed: Math.max(0, counts.failed - before.failed),
        stalled: Math.max(0, counts.stalled - before.stalled),
        slowestMs: counts.slowestMs,
      })
      if (this.traffic.length > mostPoints) this.traffic = inPairs(this.traffic)
    }
    this.#countedAt = at
    this.counts = counts
    this.#change('traffic')
  }

  /** The receipt knows better: every step that a server took, and when each request was sent. */
  #receipt(receipt: Receipt): void {
    this.receipt = receipt
    this.began = receipt.startedAt
    this.ended = receipt.finishedAt
    for (const { name, spans } of receipt.servers) {
      const server = this.servers.named(name)
      if (!server || spans.length === 0) continue
      server.segments = innermost(spans).map((span) => ({
        group: groupOf(span.name),
        name: span.name,
        start: span.start,
        end: span.end,
      }))
      this.servers.changed(server)
    }
    this.#change('head', 'servers', 'traffic')
    const { timeline, seen, failed, stalled, slowestMs } = receipt.traffic
    if (timeline.points.length > 0) {
      const end = receipt.finishedAt - receipt.startedAt
      this.traffic = timeline.points.map((point) => ({
        ...point,
        every: Math.max(1, Math.min(timeline.every, end - point.at)),
      }))
      this.counts = { seen, failed, stalled, slowestMs: slowestMs ?? 0 }
    }
  }

  #say(
    event: DeploymentEvent,
    kind: 'step' | 'note' | 'output',
    text: string,
    tone: 'plain' | 'bad' | 'good' = 'plain',
    source: string | null = null,
  ): void {
    // What a failed service printed last comes as one text of several lines; a row of the log holds one.
    for (const line of text.split('\n'))
      this.log.add({ seq: event.seq, at: event.at, server: event.server, kind, source, text: line, tone })
    this.#change('log')
  }

  #change(...parts: (keyof LiveDeployment['parts'])[]): void {
    for (const part of parts) this.#changed.add(part)
    if (this.#scheduled) return
    this.#scheduled = true
    void nextFrame().then(() => {
      this.#scheduled = false
      const changed = [...this.#changed]
      this.#changed.clear()
      for (const part of changed) this.parts[part].version++
      this.servers.tell()
      for (const part of changed) this.parts[part].tell()
    })
  }
}

/** Resolves when the page draws next. One in the background gets no frames, but has to be right when it comes back. */
function nextFrame(): Promise<void> {
  return new Promise((resolve) => {
    if (document.visibilityState === 'hidden') setTimeout(resolve, 250)
    else requestAnimationFrame(() => resolve())
  })
}

function inPairs(points: readonly TrafficPoint[]): TrafficPoint[] {
  return points.flatMap((point, index) => {
    if (index % 2 === 1) return []
    const next = points[index + 1]
    if (!next) return [point]
    return [
      {
        at: point.at,
        every: next.at + next.every - point.at,
        seen: point.seen + next.seen,
        failed: point.failed + next.failed,
        stalled: point.stalled + next.stalled,
        slowestMs: Math.max(point.slowestMs, next.slowestMs),
      },
    ]
  })
}

/** `Committing`, as a line of a log says it. */
function sentence(text: string): string {
  return `${text[0]!.toUpperCase()}${text.slice(1)}`
}

function stepText(state: StepState, failure: ErrorReport | null): string {
  return failure ? `${stepTones[state].text}: ${failure.message}` : stepTones[state].text
}
