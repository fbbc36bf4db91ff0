import { setTimeout as delay } from 'node:timers/promises'
import type { Ended, ServiceState } from '../../protocol/agent-messages.ts'
import { formatDuration } from '../../protocol/duration.ts'
import { DployError } from '../../protocol/errors.ts'
import { handoverOf, type ReleaseSpec } from '../../protocol/release-spec.ts'
import { waitHealthy, type HealthTarget } from '../health.ts'
import type { Beside, ListenAddress, ServiceRelease } from '../services/contract.ts'
import { countConnections, withDescendants } from '../services/connections.ts'
import { FormerReleases, type Listener } from './former.ts'
import { freePort, isFree } from './free-port.ts'
import { waitOwnAnswer } from './own-answer.ts'
import { Redirect } from './redirect.ts'
import { StateFile, type HandoverState, type RunState } from './state.ts'

/** How long a release that was booted waits to be switched to, beyond the time of its release command. Milliseconds. */
const bootedFor = 30 * 60_000
/** How often connections of a release that is about to end are counted. Milliseconds. */
const countEvery = 500
/** The longest that Node's timers wait. Milliseconds. */
const longestTimer = 2 ** 31 - 1

export interface HandoverOptions {
  application: string
  environment: string
  stateDirectory: string
  beside: Beside
  /** Ends the service, whichever way it runs. */
  stopService(): Promise<void>
  /** What is to be known of a release after it was switched away from. `heard`: somebody who listens was told. */
  note(text: string, heard: boolean): void
}

/** One release as it is to be started, and what tells of it. */
export interface Incoming {
  spec: ReleaseSpec
  /** The service's own port on this server. */
  port: number
  release(ports: readonly number[]): ServiceRelease
  health(ports: readonly number[], exited: Promise<never>): HealthTarget
  /** The balancer is told the release's port; otherwise this server redirects to it. */
  balancerSwitches: boolean
  signal: AbortSignal
  span<T>(name: string, work: () => Promise<T>): Promise<T>
}

/**
 * How releases of one service take over from each other without a gap: the new one is started beside the old one and
 * found healthy, what is new goes to it from one moment on, and the old one ends when it has answered what it took.
 *
 * `port`: every release listens on a port of its own. `socket`: both accept on one socket that the service manager
 * holds. There, a process that accepts gets users at once, so the proof before the commit point is a trial on a socket
 * of its own, and the release itself is started when it is to serve: beside the old one, which accepts until the new
 * one has answered.
 */
export class Handover {
  readonly #options: HandoverOptions
  readonly #file: StateFile
  readonly #redirect: Redirect
  readonly #timers = new Map<string, NodeJS.Timeout>()
  readonly #endings = new Map<string, Promise<void>>()
  readonly #former: FormerReleases
  /** Runs that are about to serve: none of them is ended now. */
  readonly #claimed = new Set<string>()

  constructor(options: HandoverOptions) {
    this.#options = options
    this.#former = new FormerReleases((text, heard) => options.note(text, heard))
    this.#file = new StateFile(options.stateDirectory)
    this.#redirect = new Redirect(options.application, options.environment)
  }

  /** Called when the agent starts: what was to end later still does, and a redirect that a reboot took away is back. */
  async resume(): Promise<void> {
    const state = this.#file.read()
    if (!state) return
    for (const [name, run] of Object.entries(state.runs)) {
      if (run.trial === true) this.#endSoon(name)
      else if (run.until !== null) this.#endLater(name, run)
    }
    const serving = state.serving === null ? undefined : state.runs[state.serving]
    if (state.redirects && serving) await this.#redirect.set(state.port, serving.ports[0]!)
  }

  /** Adds to what the manager says of a service. */
  async describe(service: ServiceState): Promise<ServiceState> {
    const state = this.#file.read()
    if (!state || state.serving === null) return service
    const holds = state.handover === 'port' || (await this.#options.beside.holds({ host: null, port: state.port }))
    const runs = await this.#options.beside.runs()
    const beside = runs.flatMap(({ name, pids }) =>
      name !== state.serving && pids.length > 0 ? (state.runs[name]?.release ?? []) : [],
    )
    const port = state.handover === 'port' ? state.runs[state.serving]?.ports[0] : undefined
    return { ...service, ...(holds && { handover: state.handover }), ...(port !== undefined && { port }), beside }
  }

  /** Tells of what comes to be known of former releases, until disposed; first what came to be known a moment before. */
  listen(listener: Listener): Disposable {
    return this.#former.listen(listener)
  }

  /** Where a release listens; null if it is not beside others. */
  portsOf(number: number): readonly number[] | null {
    const state = this.#file.read()
    if (!state) return null
    const name = this.serves(number) ? state.serving! : this.#runOf(number)
    return name === null ? null : (state.runs[name]?.ports ?? null)
  }

  /** Processes of all releases that run, whether they serve or not. */
  async pids(): Promise<ReadonlySet<number>> {
    return withDescendants((await this.#options.beside.runs()).flatMap(({ pids }) => pids))
  }

  /** Whether this release is the one that serves. */
  serves(number: number): boolean {
    const state = this.#file.read()
    return state !== null && state.serving !== null && state.runs[state.serving]?.release === number
  }

  /** Proves before the commit point that a release runs here. When it fails nothing is left of it. */
  async boot(incoming: Incoming): Promise<{ already: boolean }> {
    this.#makeRoom(incoming.spec.number)
    if (handoverOf(incoming.spec.service) === 'socket') {
      if (await this.#lives(this.#runOf(incoming.spec.number))) return { already: true }
      await this.#trial(incoming)
      return { already: false }
    }
    if (!incoming.balancerSwitches) await this.#redirect.check()
    return this.#bootOnPort(incoming, this.#runOf(incoming.spec.number) ?? this.#newName(incoming.spec.number))
  }

  /**
   * Makes a release the one that serves; boots it first where `boot` was not asked. `flip` switches `current`. The one
   * before stays warm (`port`) or is told to end (`socket`). Throws with the former still serving.
   */
  async activate(incoming: Incoming, flip: () => void): Promise<void> {
    const { spec } = incoming
    const handover = handoverOf(spec.service) as 'socket' | 'port'
    if (!(await this.#isReady(handover, incoming.port))) {
      await incoming.span('stop', () => this.#options.stopService())
      await this.forget()
    }
    const name = this.#runOf(spec.number) ?? this.#newName(spec.number)
    this.#claimed.add(name)
    try {
      if (handover === 'port') await this.#bootOnPort(incoming, name)
      else await this.#startOnSocket(incoming, name)
      await this.#switchTo(incoming, name, flip)
    } finally {
      this.#claimed.delete(name)
    }
  }

  async #switchTo(incoming: Incoming, name: string, flip: () => void): Promise<void> {
    const { spec } = incoming
    const handover = handoverOf(spec.service)
    const redirects = handover === 'port' && !incoming.balancerSwitches
    await incoming.span('switch', async () => {
      flip()
      await this.#options.beside.serve(name)
      if (redirects) await this.#redirect.set(incoming.port, this.#file.read()!.runs[name]!.ports[0]!)
    })
    const state = this.#file.read()!
    const before = state.serving === name ? null : state.serving
    state.runs[name]!.until = null
    if (before !== null && state.runs[before])
      state.runs[before].until = Date.now() + (handover === 'port' ? (spec.service!.keep_warm ?? 0) : 0)
    this.#file.write({ ...state, serving: name, redirects })
    clearTimeout(this.#timers.get(name))
    if (before !== null && state.runs[before]) this.#endLater(before, state.runs[before])
    // Of those that were kept warm only the last is one that somebody goes back to.
    for (const other of Object.keys(state.runs)) if (other !== name && other !== before) this.#endSoon(other)
  }

  /** Ends what was booted and not switched to. */
  async retire(number: number): Promise<void> {
    const state = this.#file.read()
    for (const [name, run] of Object.entries(state?.runs ?? {}))
      if (run.release === number && state!.serving !== name) await this.#end(name)
  }

  /** The service's releases are no longer beside each other: somebody else has ended them. */
  async forget(): Promise<void> {
    const state = this.#file.read()
    if (!state) return
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
    if (state.redirects) await this.#redirect.remove()
    this.#file.write(null)
  }

  /** Whether what serves lets another release take over in this way. */
  async #isReady(handover: 'socket' | 'port', port: number): Promise<boolean> {
    const state = this.#file.read()
    if (!state || state.handover !== handover || state.port !== port || state.serving === null) return false
    return handover === 'port' || this.#options.beside.holds({ host: null, port })
  }

  /** Ends those that were kept warm before a third release boots, but not the one that would be switched back to. */
  #makeRoom(incoming: number): void {
    const state = this.#file.read()
    for (const [name, run] of Object.entries(state?.runs ?? {}))
      if (name !== state!.serving && run.release !== incoming) this.#endSoon(name)
  }

  async #trial(incoming: Incoming): Promise<void> {
    const { spec, signal } = incoming
    const name = this.#newName(spec.number, '-trial')
    const prepared = this.#runOf(spec.number) ?? this.#newName(spec.number)
    const address: ListenAddress = { host: '127.0.0.1', port: await freePort() }
    const release = incoming.release([incoming.port])
    const ports = portsOnSocket(incoming)
    this.#remember('socket', incoming.port, prepared, { release: spec.number, ports, until: Date.now() + bootedFor })
    await this.#options.beside.prepare(prepared, incoming.release(ports), [{ host: null, port: incoming.port }])
    this.#remember('socket', incoming.port, name, {
      release: spec.number,
      ports: [address.port],
      until: Date.now() + bootedFor,
      trial: true,
    })
    try {
      await incoming.span('boot', () =>
        this.#options.beside.start(name, { ...release, service: { ...release.service, instances: 1 } }, [address]),
      )
      await incoming.span('health', () =>
        this.#untilFailure(name, signal, (exited) => waitHealthy(incoming.health([address.port], exited))),
      )
    } catch (error) {
      await this.#end(prepared)
      throw withoutSocket(error)
    } finally {
      await this.#end(name)
    }
  }

  async #bootOnPort(incoming: Incoming, name: string): Promise<{ already: boolean }> {
    const { spec, signal } = incoming
    const known = this.#file.read()?.runs[name]
    const already = known !== undefined && (await this.#lives(name))
    const port = already ? known.ports[0]! : await this.#choosePort(spec, incoming.port)
    try {
      if (!already) {
        this.#remember('port', incoming.port, name, {
          release: spec.number,
          ports: [port],
          until: Date.now() + bootedFor + (spec.release_command?.timeout ?? 0),
        })
        await incoming.span('boot', () => this.#options.beside.start(name, incoming.release([port]), []))
        this.#endLater(name, this.#file.read()!.runs[name]!)
      }
      await incoming.span('health', () =>
        this.#untilFailure(name, signal, (exited) => waitHealthy(incoming.health([port], exited))),
      )
    } catch (error) {
      if (!already) await this.#end(name)
      throw error
    }
    return { already }
  }

  /** Starts a release on the socket that the one before accepts on too, and waits until it has answered. */
  async #startOnSocket(incoming: Incoming, name: string): Promise<void> {
    const { spec, signal, port } = incoming
    const already = await this.#lives(name)
    const pids = async () => (await this.#options.beside.runs()).find((run) => run.name === name)?.pids ?? []
    try {
      await incoming.span('boot', async () => {
        if (!already) {
          const ports = portsOnSocket(incoming)
          this.#remember('socket', port, name, { release: spec.number, ports, until: Date.now() + bootedFor })
          await this.#options.beside.start(name, incoming.release(ports), [{ host: null, port }])
        }
        await this.#untilFailure(name, signal, (exited) => waitOwnAnswer(incoming.health([port], exited), pids))
      })
    } catch (error) {
      // The old one has accepted all along: without the new one everything is as it was.
      if (!already) await this.#end(name)
      throw withoutSocket(error)
    }
  }

  async #choosePort(spec: ReleaseSpec, port: number): Promise<number> {
    const { from, to } = spec.service!.release_ports ?? { from: port + 1, to: port + 10 }
    const taken = new Set(Object.values(this.#file.read()?.runs ?? {}).flatMap(({ ports }) => ports))
    for (let candidate = from; candidate <= to; candidate++)
      if (candidate !== port && !taken.has(candidate) && (await isFree(candidate))) return candidate
    throw new DployError('service.manager_unavailable', `All ports from ${from} to ${to} are taken on this server`, {
      fix: 'Give the service other ports: service.release_ports',
    })
  }

  /** The run of a release that is not being ended. */
  #runOf(number: number): string | null {
    const found = Object.entries(this.#file.read()?.runs ?? {}).find(
      ([name, { release, trial }]) => release === number && trial !== true && !this.#endings.has(name),
    )
    return found?.[0] ?? null
  }

  /** A name that nothing has: a release that is started again may still be ending from before. */
  #newName(number: number, suffix = ''): string {
    const taken = this.#file.read()?.runs ?? {}
    for (let count = 1; ; count++) {
      const name = `${number}${suffix}${count === 1 ? '' : `-${count}`}`
      if (!(name in taken) && !this.#endings.has(name)) return name
    }
  }

  async #lives(name: string | null): Promise<boolean> {
    if (name === null) return false
    const run = (await this.#options.beside.runs()).find((one) => one.name === name)
    return run !== undefined && run.pids.length > 0
  }

  async #untilFailure<T>(name: string, signal: AbortSignal, work: (exited: Promise<never>) => Promise<T>): Promise<T> {
    const stop = new AbortController()
    const exited = this.#options.beside.exited(name, AbortSignal.any([signal, stop.signal]))
    exited.catch(() => {})
    try {
      return await work(exited)
    } finally {
      stop.abort(new DployError('deployment.cancelled', 'No longer looked at'))
    }
  }

  #state(handover: 'socket' | 'port', port: number): HandoverState {
    return this.#file.read() ?? { handover, port, redirects: false, serving: null, runs: {} }
  }

  #remember(handover: 'socket' | 'port', port: number, name: string, run: RunState): void {
    const state = this.#state(handover, port)
    this.#file.write({ ...state, runs: { ...state.runs, [name]: run } })
  }

  #endSoon(name: string): void {
    void this.#endGently(name).catch((error: unknown) =>
      this.#former.tell(`release ${name} could not be ended: ${(error as Error).message}`),
    )
  }

  #endLater(name: string, run: RunState): void {
    clearTimeout(this.#timers.get(name))
    const wait = Math.min(longestTimer, Math.max(0, (run.until ?? Infinity) - Date.now()))
    const timer = setTimeout(() => {
      const now = this.#file.read()?.runs[name]
      if (now?.until != null && now.until <= Date.now() + 10) this.#endSoon(name)
    }, wait)
    timer.unref()
    this.#timers.set(name, timer)
  }

  /** Ends a release that users may still be connected to: where nothing new reaches it, once they are gone or its time is up. */
  async #endGently(name: string): Promise<void> {
    const state = this.#file.read()
    const run = state?.runs[name]
    if (!state || !run || this.#isWanted(name)) return
    const { timeout, pids } = await this.#stopOf(name)
    if (state.handover === 'port') {
      for (const end = Date.now() + timeout; countConnections(pids, run.ports) > 0 && Date.now() < end;) {
        await delay(countEvery, undefined, { ref: false })
        if (this.#isWanted(name)) return
      }
    }
    if (this.#isWanted(name)) return
    let left = countConnections(pids, run.ports, 0)
    const toldAt = performance.now()
    const killedAt = toldAt + timeout
    const counting = setInterval(() => {
      const now = countConnections(pids, run.ports)
      // What a killed process had open is cut, not closed: only a count that ended before the kill tells.
      if (performance.now() < killedAt) left = now
    }, countEvery)
    try {
      const { killed } = await this.#end(name)
      const ended: Ended = {
        release: run.release,
        ms: Math.round(performance.now() - toldAt),
        ago: 0,
        killed,
        connections: killed ? left : 0,
      }
      const cut = left === 0 ? 'no connection was' : left === 1 ? '1 connection was' : `${left} connections were`
      this.#former.tell(
        killed
          ? `release ${run.release} did not end within ${formatDuration(timeout)} and was killed; ${cut} cut`
          : `release ${run.release} ended, ${formatDuration(ended.ms)} after it was told to`,
        ended,
      )
    } finally {
      clearInterval(counting)
    }
  }

  #isWanted(name: string): boolean {
    return this.#claimed.has(name) || this.#file.read()?.serving === name
  }

  async #stopOf(name: string): Promise<{ timeout: number; pids: number[] }> {
    const run = (await this.#options.beside.runs()).find((one) => one.name === name)
    return { timeout: run?.stopTimeout ?? 10_000, pids: run?.pids ?? [] }
  }

  /** Ends a run now; it is forgotten when it has ended. Asked twice at the same time, it ends once. */
  async #end(name: string): Promise<{ killed: boolean }> {
    clearTimeout(this.#timers.get(name))
    let killed = false
    const ending = (this.#endings.get(name) ?? Promise.resolve()).then(async () => {
      const result = await this.#options.beside.end(name)
      killed = result.killed
      const state = this.#file.read()
      if (!state) return
      const { [name]: _, ...runs } = state.runs
      this.#file.write({ ...state, runs, serving: state.serving === name ? null : state.serving })
    })
    const settled = ending.catch(() => {})
    this.#endings.set(name, settled)
    void settled.finally(() => this.#endings.get(name) === settled && this.#endings.delete(name))
    await ending
    return { killed }
  }
}

/** What an application that does not know of handed-over sockets does: it takes the port itself, which is taken. */
function withoutSocket(error: unknown): unknown {
  if (!(error instanceof DployError) || !/EADDRINUSE|address already in use/i.test(error.message)) return error
  return new DployError(error.code, error.message, {
    fix: 'The application opens its port itself. With service.handover: socket it has to listen on descriptor 3 where LISTEN_FDS is set: see docs/handover.md; or leave service.handover out',
    cause: error,
  })
}

/** PORT of each instance: they share one. */
function portsOnSocket({ spec, port }: Incoming): number[] {
  return Array.from({ length: spec.service!.instances }, () => port)
}
