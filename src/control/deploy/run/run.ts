import type { Logger } from 'pino'
import type { Balancer } from '../../../balancers/contract.ts'
import type {
  AgentEvent,
  AgentMethod,
  AgentParams,
  AgentResult,
  Ended,
  Span,
} from '../../../protocol/agent-messages.ts'
import { formatBytes } from '../../../protocol/bytes.ts'
import { releaseDirectory, type Config, type EnvironmentConfig } from '../../../protocol/config/config.ts'
import type { DeploymentEventData, DeploymentState, StepState } from '../../../protocol/deployment.ts'
import { DployError, type ErrorReport } from '../../../protocol/errors.ts'
import type { Digest } from '../../../protocol/manifest.ts'
import { neitherHereNorThere, type ReleaseSpec, type Revision } from '../../../protocol/release-spec.ts'
import type { EnvironmentServer } from '../../store/applications.ts'
import type { DeploymentRow } from '../../store/deployments.ts'
import type { Release } from '../../store/releases.ts'
import type { Store } from '../../store/store.ts'
import { Redactor } from '../../../protocol/redactor.ts'
import type { AgentLink } from '../../gateway/agent-link.ts'
import type { UserTraffic } from '../../receipt/user-traffic.ts'
import { patientBalancer } from './patient-balancer.ts'
import type { Ahead } from '../plan/ahead.ts'
import type { SharedLock, SharedLocks } from '../lock/shared-lock.ts'

/** So much of what one step prints is kept, and so much else that it tells: a server that never ends fills no disk here. Bytes, events. */
const mostOutput = 16 * 1024 * 1024
const mostOthers = 10_000

type Output = Extract<DeploymentEventData, { kind: 'output' }>

/** Where revisions and artifacts come from. */
export interface ArtifactSource {
  resolve(
    config: Config,
    base: string | null,
    ref: string | null,
    branch: string | null,
    signal: AbortSignal,
  ): Promise<Revision>
  build(
    config: Config,
    base: string | null,
    revision: Revision,
    options: { signal: AbortSignal; onOutput: (stream: 'stdout' | 'stderr', text: string) => void },
  ): Promise<{ artifact: Digest; cached: boolean }>
  /** Whether an uploaded artifact is here whole. */
  has(artifact: Digest): Promise<boolean>
  /** What turns one manifest into the other, compressed with zstd. */
  delta(from: Digest | null, to: Digest): Promise<Uint8Array>
}

/** How agents are reached, whichever way they are connected. */
export interface Reach {
  /** Throws `server.unreachable`. */
  reach(server: { id: string; name: string }, timeout: number, signal?: AbortSignal): Promise<AgentLink>
}

export interface RunnerOptions {
  store: Store
  servers: Reach
  /** The lock and the record that servers keep. */
  shared: SharedLocks
  artifacts: ArtifactSource
  openBalancer(config: EnvironmentConfig['balancer']): Balancer
  log: Logger
  holder: string
}

/** From its stop signal until it had ended, and what that cut. Milliseconds. */
export interface Retired extends Pick<Ended, 'killed' | 'connections'> {
  start: number
  end: number
}

/** One deployment while it runs: what it knows, and the only ways in which it writes. */
export class Run {
  readonly id: string
  readonly number: number
  readonly row: DeploymentRow
  readonly environment: EnvironmentConfig
  readonly environmentName: string
  readonly fence: number
  /** The servers it is about, in the order of dploy.yml. */
  readonly servers: readonly EnvironmentServer[]
  readonly #byName: ReadonlyMap<string, EnvironmentServer>
  readonly balancer: Balancer
  readonly options: RunnerOptions
  /** Aborts when the deployment is cancelled, loses its lock, or the control plane stops. Not consulted while rolling back. */
  readonly signal: AbortSignal
  /** Aborts when the lock is lost. */
  readonly lease: AbortSignal
  /** The lock on the servers themselves. */
  readonly shared: SharedLock
  /** What was found and made while the lock was taken. */
  readonly ahead: Ahead | null
  startedAt: number
  /** Takes the secrets out of what is stored. */
  readonly redactor = new Redactor()
  /** What the control plane itself did, for the receipt; relative to the start. */
  readonly spans: Span[] = []
  /** Measured round trip of each server's connection, milliseconds. */
  readonly roundTrips = new Map<string, number>()
  /** Requests still in flight when a drain's time was up, by server; null: some may have been. */
  readonly cut = new Map<string, number | null>()
  /** Servers that the deployment leaves out of traffic, whoever took them out. */
  out: string[] = []
  /** How the release before ended where another took over beside it, by server. Relative to the start. */
  readonly retired = new Map<string, Retired>()
  /** Counts what users are answered, by release; null: the balancer does not count by server, or nobody measures. */
  users: UserTraffic | null = null
  /** How often a command of an id failed: an agent answers what failed as it did, so that the next attempt needs an id of its own. */
  readonly #failures = new Map<string, number>()
  /** By server and release: secrets that it does not keep; null for an agent that keeps none. */
  readonly #kept = new Map<string, ReadonlyMap<string, readonly string[] | null>>()
  state: DeploymentState
  /** The tag of the servers that serve, where two groups take turns. */
  liveGroup: string | null
  release: Release | null = null
  from: Release | null = null

  constructor(input: {
    row: DeploymentRow
    environmentName: string
    fence: number
    servers: readonly EnvironmentServer[]
    balancer: Balancer
    options: RunnerOptions
    lease: AbortSignal
    signal: AbortSignal
    release: Release | null
    from: Release | null
    shared: SharedLock
    ahead: Ahead | null
    liveGroup: string | null
  }) {
    this.id = input.row.id
    this.number = input.row.number
    this.row = input.row
    this.environmentName = input.environmentName
    this.environment = input.row.config.environments[input.environmentName]!
    this.fence = input.fence
    this.servers = input.servers
    this.#byName = new Map(input.servers.map((server) => [server.name, server]))
    // A balancer that restarts in the middle is no reason to fail, above all not on the way back.
    this.balancer = patientBalancer(input.balancer, (text) => this.note(null, text))
    this.options = input.options
    this.signal = input.signal
    this.lease = input.lease
    this.shared = input.shared
    this.ahead = input.ahead
    this.state = input.row.state
    this.liveGroup = input.liveGroup
    this.release = input.release
    this.from = input.from
    this.startedAt = input.row.startedAt ?? Date.now()
  }

  get store(): Store {
    return this.options.store
  }

  /** Milliseconds since the deployment started. */
  elapsed(): number {
    return Date.now() - this.startedAt
  }

  /** Moves the deployment to its next state, stored before anything else happens. */
  async transition(
    to: DeploymentState,
    changes: Parameters<Store['deployments']['transition']>[5] = {},
  ): Promise<void> {
    const now = Date.now()
    if (this.state === 'queued') this.startedAt = now
    await this.store.deployments.transition(this.id, this.fence, this.state, to, now, changes)
    this.state = to
  }

  /** Stores which group of servers serves, before the first of them moves. */
  async setLiveGroup(tag: string | null): Promise<void> {
    await this.store.deployments.setLiveGroup(this.id, this.fence, tag)
    this.liveGroup = tag
  }

  /** Does something as a span of the control plane's own. */
  async timed<T>(name: string, work: () => Promise<T>): Promise<T> {
    const start = this.elapsed()
    try {
      return await work()
    } finally {
      this.spans.push({ name, start, end: this.elapsed() })
    }
  }

  async step(
    server: EnvironmentServer,
    to: StepState,
    changes: { spans?: readonly Span[]; bytes?: number; objects?: number; failure?: ErrorReport | null } = {},
  ): Promise<void> {
    await this.store.deployments.step(this.id, this.fence, server, to, Date.now(), changes)
  }

  event(server: EnvironmentServer | null, data: DeploymentEventData): void {
    this.store.events.add(this.id, server?.id ?? null, data, Date.now())
  }

  note(server: EnvironmentServer | null, text: string): void {
    this.event(server, { kind: 'note', text: this.redactor.whole(text) })
  }

  server(name: string): EnvironmentServer {
    const found = this.#byName.get(name)
    if (!found) throw new DployError('server.unknown', `The server ${name} is not in this environment`)
    return found
  }

  /**
   * What a release does differently on a server, with the values of its secrets that are known here: those that are not, the server
   * keeps with the release. Throws `secret.missing` where it does not.
   */
  async localOf(
    server: EnvironmentServer,
    release: Release,
  ): Promise<{ port?: number; secrets: Record<string, string> }> {
    const local = server.port === null ? {} : { port: server.port }
    const { secrets, lacking } = await this.#secretsHere(release)
    if (lacking.length === 0) return { ...local, secrets }
    const known = this.#kept.get(server.name) ?? (await this.#askKept(server))
    const gone = known.get(release.id)?.filter((name) => lacking.includes(name)) ?? lacking
    if (gone.length > 0) throw neitherHereNorThere(release.number, gone, server.name)
    return { ...local, secrets }
  }

  /** Notes what a server keeps of its releases' secrets, as it says. */
  noteKept(server: string, { releases }: AgentResult<'observe'>): void {
    this.#kept.set(server, new Map(releases.map(({ id, lacks }) => [id, lacks ?? null])))
  }

  /** Secrets of a release that nobody could give a server to start it again; empty: it can be started. */
  async lackedBy(server: string, release: Release): Promise<string[]> {
    const { lacking } = await this.#secretsHere(release)
    return (
      this.#kept
        .get(server)
        ?.get(release.id)
        ?.filter((name) => lacking.includes(name)) ?? lacking
    )
  }

  async #secretsHere(release: Release): Promise<{ secrets: Record<string, string>; lacking: string[] }> {
    const secrets = await this.store.secrets.here(release.spec.secrets ?? {})
    this.redactor.know(Object.values(secrets))
    return { secrets, lacking: Object.keys(release.spec.secrets ?? {}).filter((name) => secrets[name] === undefined) }
  }

  async #askKept(server: EnvironmentServer): Promise<ReadonlyMap<string, readonly string[] | null>> {
    const { application } = this.row.config
    const place = {
      application,
      environment: this.environmentName,
      directory: releaseDirectory(this.row.config, this.environmentName),
    }
    const { reach } = this.environment.timeouts
    const options = { timeout: reach, signal: this.lease, id: `${this.id}:kept:${server.id}:${Date.now()}` }
    this.noteKept(server.name, await this.command(server, 'observe', place, options))
    return this.#kept.get(server.name)!
  }

  /**
   * Asks a server's agent for something under this deployment's fencing token. If the connection ends meanwhile, waits
   * for the agent to come back and asks again with the same command id, which it does once; until `timeout`.
   */
  async command<M extends AgentMethod>(
    server: EnvironmentServer,
    method: M,
    params: AgentParams<M>,
    options: { timeout: number; signal: AbortSignal; id?: string; body?: Uint8Array },
  ): Promise<AgentResult<M>> {
    const { release } = params as { release?: ReleaseSpec | number }
    if (typeof release === 'object') await this.#mustKnow(server, release)
    const deadline = Date.now() + options.timeout
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(options.timeout)])
    const streams = new Map<string, Output>()
    const room = { output: mostOutput, others: mostOthers }
    const asked = options.id ?? `${this.id}:${this.fence}:${method}:${server.id}`
    const failures = this.#failures.get(asked) ?? 0
    const id = failures === 0 ? asked : `${asked}:${failures + 1}`
    for (;;) {
      try {
        const link = await this.options.servers.reach(
          server,
          Math.max(1, Math.min(this.environment.timeouts.reach, deadline - Date.now())),
          options.signal,
        )
        this.roundTrips.set(server.name, link.facts.roundTrip)
        return await link.command(method, params, {
          application: this.row.config.application,
          environment: this.environmentName,
          epoch: this.fence,
          id,
          signal,
          body: options.body,
          onEvent: (event) => this.#forward(server, event, streams, room),
        })
      } catch (caught) {
        const error = this.#redacted(caught)
        const ended = error instanceof DployError && error.code === 'connection.closed'
        if (!ended) this.#failures.set(asked, failures + 1)
        options.signal.throwIfAborted()
        if (Date.now() >= deadline) {
          if (error instanceof DployError && !ended) throw error
          throw new DployError(
            'command.timeout',
            `${server.name} did not finish ${method} within ${options.timeout} ms`,
            { where: server.name, cause: error },
          )
        }
        if (!ended) throw error
        this.note(server, 'the connection ended; waiting for the agent to come back')
        // Whatever ended it: the end has to be seen before it is tried again.
        await new Promise((resolve) => setImmediate(resolve))
      } finally {
        for (const [stream, output] of streams) {
          const text = this.redactor.flush(stream)
          if (text !== '') this.event(server, { ...output, text })
        }
      }
    }
  }

  /** `room`: so much more of what this step says is kept. */
  #forward<M extends AgentMethod>(
    server: EnvironmentServer,
    event: AgentEvent<M>,
    streams: Map<string, Output>,
    room: { output: number; others: number },
  ): void {
    const step = event as { kind?: string; text?: string }
    if (step.kind === 'output') {
      if (room.output <= 0) return
      room.output -= 100 + (step.text?.length ?? 0)
      if (room.output <= 0)
        return this.note(
          server,
          `what this step prints is left out from here on: it was more than ${formatBytes(mostOutput)}`,
        )
    } else if (room.others-- <= 0) return
    if (step.kind === 'progress') this.event(server, event as DeploymentEventData)
    else if (step.kind === 'note') {
      const { text, ended } = event as { text: string; ended?: Ended }
      this.note(server, text)
      if (ended) {
        const end = this.elapsed() - ended.ago
        this.retired.set(server.name, {
          start: end - ended.ms,
          end,
          killed: ended.killed,
          connections: ended.connections,
        })
      }
    } else if (step.kind === 'output') {
      const output = event as Output
      const stream = `${server.id} ${output.source} ${output.stream}`
      streams.set(stream, output)
      const text = this.redactor.piece(stream, output.text)
      if (text !== '') this.event(server, { ...output, text })
    }
  }

  /** Throws `release.unknown` for a release that another laptop made, of which this server knows nothing or something else. */
  async #mustKnow(server: EnvironmentServer, spec: ReleaseSpec): Promise<void> {
    const ours = spec.id === this.release?.id && this.row.kind === 'deploy'
    if (ours || this.shared.knows(server.name, spec) || (await this.store.releases.isMadeHere(spec.id))) return
    if (await this.shared.knowsNow(server.name, spec)) return
    throw new DployError(
      'release.unknown',
      `Release ${spec.number} was made on another machine, and ${server.name} does not know it as the servers that told of it do`,
      {
        where: server.name,
        fix: `Deploy its revision: dploy deploy ${this.environmentName}${spec.revision.commit === null ? '' : ` --revision ${spec.revision.commit.slice(0, 12)}`}`,
      },
    )
  }

  #redacted(error: unknown): unknown {
    if (!(error instanceof DployError) || this.redactor.whole(error.message) === error.message) return error
    return new DployError(error.code, this.redactor.whole(error.message), { where: error.where, fix: error.fix })
  }
}
