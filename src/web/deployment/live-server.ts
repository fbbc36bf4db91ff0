import type { StepState } from '../../protocol/deployment.ts'
import type { ErrorReport } from '../../protocol/errors.ts'
import type { StepGroup } from '../../protocol/waterfall.ts'

/** What a server did from `start` to `end`, milliseconds after the deployment's begin; `end` null: does it now. */
export interface Segment {
  group: StepGroup | 'failed'
  name: string
  start: number
  end: number | null
}

/** Something of which a part of a page shows the newest state, told of its changes at most once a frame. */
export class Watched {
  /** Grows with each change. */
  version = 0
  readonly #watchers = new Set<() => void>()

  subscribe = (watch: () => void): (() => void) => {
    this.#watchers.add(watch)
    return () => this.#watchers.delete(watch)
  }
  snapshot = (): number => this.version

  tell(): void {
    for (const watch of this.#watchers) watch()
  }
}

/** One of whose changes is told at most every so many milliseconds: what comes faster nobody could read. */
export class Paced extends Watched {
  readonly #apart: number
  #told = -Infinity
  #timer: ReturnType<typeof setTimeout> | null = null

  constructor(apart: number) {
    super()
    this.#apart = apart
  }

  override tell(): void {
    if (this.#timer !== null) return
    const wait = this.#told + this.#apart - performance.now()
    if (wait <= 0) return this.#tellNow()
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#tellNow()
    }, wait)
  }

  #tellNow(): void {
    this.#told = performance.now()
    super.tell()
  }
}

/** A server of a deployment as its events tell it. Each is watched by itself, so that of a thousand only those are drawn again that changed. */
export class LiveServer extends Watched {
  readonly name: string
  batch: number | null
  state: StepState
  note = ''
  failure: ErrorReport | null = null
  segments: Segment[] = []

  constructor(name: string, batch: number | null, state: StepState) {
    super()
    this.name = name
    this.batch = batch
    this.state = state
  }

  endSegment(at: number): void {
    const last = this.segments.at(-1)
    if (last && last.end === null) last.end = at
  }
}

/** Servers that switch together. */
export class LiveBatch extends Watched {
  /** From 0; null: those that are in none. */
  readonly batch: number | null
  readonly servers: LiveServer[] = []
  /** How many of them are where they will stay. */
  settled = 0

  constructor(batch: number | null) {
    super()
    this.batch = batch
  }

  get title(): string {
    return this.batch === null ? 'In no batch' : `Batch ${this.batch + 1}`
  }
}

const settledStates: ReadonlySet<StepState> = new Set<StepState>([
  'switched',
  'unchanged',
  'failed',
  'quarantined',
  'unreachable',
  'reverted',
])

/** All servers of a deployment: by name, in order, in batches, and how many stand where, counted as they move. */
export class LiveServers {
  /** Another list when servers came to it. */
  order: readonly LiveServer[] = []
  batches: readonly LiveBatch[] = []
  /** How many are in each state: of all, and of those in batches. */
  readonly states = new Map<StepState, number>()
  readonly batched = new Map<StepState, number>()
  #byName = new Map<string, LiveServer>()
  #changed = new Set<Watched>()

  named(name: string): LiveServer | undefined {
    return this.#byName.get(name)
  }

  add(servers: readonly { name: string; batch: number | null; state: StepState }[]): void {
    const fresh = servers
      .filter(({ name }) => !this.#byName.has(name))
      .map(({ name, batch, state }) => new LiveServer(name, batch, state))
    if (fresh.length === 0) return
    this.order = [...this.order, ...fresh]
    for (const server of fresh) {
      this.#byName.set(server.name, server)
      this.#join(server)
      this.#count(server, 1)
    }
  }

  /** A server is in another state now, and maybe in another batch. */
  move(server: LiveServer, state: StepState, batch: number | null): void {
    this.#count(server, -1)
    server.state = state
    if (batch !== null && batch !== server.batch) {
      const before = this.batches.find((one) => one.batch === server.batch)
      before?.servers.splice(before.servers.indexOf(server), 1)
      server.batch = batch
      this.#join(server)
    }
    this.#count(server, 1)
    this.changed(server)
  }

  changed(one: Watched): void {
    this.#changed.add(one)
  }

  /** Tells those who watch what changed since the last time. */
  tell(): void {
    const changed = this.#changed
    this.#changed = new Set()
    for (const one of changed) {
      one.version++
      one.tell()
    }
  }

  #join(server: LiveServer): void {
    let batch = this.batches.find((one) => one.batch === server.batch)
    if (!batch) {
      batch = new LiveBatch(server.batch)
      this.batches = [...this.batches, batch]
    }
    batch.servers.push(server)
    this.changed(batch)
  }

  #count(server: LiveServer, by: 1 | -1): void {
    add(this.states, server.state, by)
    if (server.batch !== null) add(this.batched, server.state, by)
    if (!settledStates.has(server.state)) return
    const batch = this.batches.find((one) => one.batch === server.batch)
    if (!batch) return
    batch.settled += by
    this.changed(batch)
  }
}

function add(counts: Map<StepState, number>, state: StepState, by: number): void {
  const count = (counts.get(state) ?? 0) + by
  if (count === 0) counts.delete(state)
  else counts.set(state, count)
}
