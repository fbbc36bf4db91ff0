import type { DeploymentEvent, DeploymentState, Plan, StepState, Waiting } from '../../protocol/deployment.ts'
import type { ErrorReport } from '../../protocol/errors.ts'
import type { Receipt } from '../../protocol/receipt.ts'

export interface ServerProgress {
  name: string
  batch: number | null
  state: StepState
  /** Epoch milliseconds since when it is in this state. */
  since: number
  /** When its own work in this deployment began and ended; null: not yet. */
  began: number | null
  ended: number | null
  note: string
  failure: ErrorReport | null
}

/** What is known of a deployment from its events so far. */
export interface Progress {
  state: DeploymentState
  began: number | null
  ended: number | null
  phases: { state: DeploymentState; at: number }[]
  plan: Plan | null
  servers: Map<string, ServerProgress>
  traffic: { seen: number; failed: number; stalled: number; slowestMs: number } | null
  failure: ErrorReport | null
  receipt: Receipt | null
  /** For whom it waits in the middle, and why. */
  waiting: Waiting | null
  /** The last words that no server said: of the build, of the deployment. */
  note: string
}

export function newProgress(): Progress {
  return {
    state: 'queued',
    began: null,
    ended: null,
    phases: [],
    plan: null,
    servers: new Map(),
    traffic: null,
    failure: null,
    receipt: null,
    waiting: null,
    note: '',
  }
}

const settled: ReadonlySet<StepState> = new Set<StepState>([
  'switched',
  'reverted',
  'failed',
  'quarantined',
  'unreachable',
  'unchanged',
])
const finalStates: ReadonlySet<DeploymentState> = new Set<DeploymentState>([
  'succeeded',
  'failed',
  'rolled_back',
  'cancelled',
])

/** Takes one event in. Events come in order. */
export function takeEvent(progress: Progress, event: DeploymentEvent): void {
  const { data } = event
  progress.began ??= event.at
  const server = event.server === null ? undefined : progress.servers.get(event.server)
  switch (data.kind) {
    case 'state':
      progress.state = data.state
      progress.phases.push({ state: data.state, at: event.at })
      progress.failure = data.failure ?? progress.failure
      progress.note = ''
      progress.waiting = null
      if (finalStates.has(data.state)) progress.ended = event.at
      return
    case 'plan':
      takePlan(progress, data.plan, event.at)
      return
    case 'step':
      if (!server) return
      server.state = data.state
      server.since = event.at
      server.began ??= event.at
      server.ended = settled.has(data.state) ? event.at : null
      server.batch = data.batch ?? server.batch
      server.note = ''
      server.failure = data.failure
      return
    case 'progress':
      if (server) server.note = data.phase
      else progress.note = data.phase
      return
    case 'note':
      if (server) server.note = data.text
      else progress.note = data.text
      return
    case 'output':
      if (server) server.note = lastLine(data.text) || server.note
      else progress.note = lastLine(data.text) || progress.note
      return
    case 'waiting':
      progress.waiting = data.waiting
      return
    case 'traffic':
      progress.traffic = data
      return
    case 'receipt':
      progress.receipt = data.receipt
      return
    default:
      data satisfies never
  }
}

function takePlan(progress: Progress, plan: Plan, at: number): void {
  progress.plan = plan
  const add = (name: string, state: StepState, batch: number | null) => {
    if (!progress.servers.has(name))
      progress.servers.set(name, { name, batch, state, since: at, began: null, ended: null, note: '', failure: null })
  }
  plan.batches.forEach((names, batch) => names.forEach((name) => add(name, 'pending', batch)))
  for (const name of plan.unchanged) add(name, 'unchanged', null)
  for (const name of plan.unreachable) add(name, 'unreachable', null)
}

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1)?.trim() ?? ''
}
