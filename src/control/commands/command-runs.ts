import { releaseDirectory } from '../../protocol/config/config.ts'
import { commandText } from '../../protocol/command-line.ts'
import type { CommandOutcome, ExecEvent } from '../../protocol/api/commands.ts'
import type { PersonCommand, TerminalSize } from '../../protocol/command-messages.ts'
import { DployError, reportOf } from '../../protocol/errors.ts'
import type { Gateway } from '../gateway/gateway.ts'
import type { Environment, EnvironmentServer } from '../store/applications.ts'
import type { Store } from '../store/store.ts'
import { Outlet } from './outlet.ts'
import { selectServers } from './selection.ts'
import { ServerSession } from './server-session.ts'
import { TextPieces } from './text-pieces.ts'

/** Output of one run that may wait here for a slow reader, of all its servers together. Bytes. */
const windowOfAll = 2 * 1024 * 1024
/** Of one server: at least, and at most. Bytes. */
const leastWindow = 32 * 1024
const mostWindow = 256 * 1024

export interface ExecRequest {
  environment: Environment
  /** Null, with a terminal: the user's shell. */
  command: PersonCommand | null
  terminal?: (TerminalSize & { kind: string }) | undefined
  on: { servers: string[]; tags: Record<string, string> }
  /** So many servers at a time; null: all. */
  batch: number | null
  /** Milliseconds; null: any time. */
  timeout: number | null
  user: string | undefined
  sudo: boolean
  requestedBy: string
  /** Aborts when the reader went away: then it is ended on all servers. */
  signal: AbortSignal
}

/** Runs people's commands on servers, and keeps the record of it. */
export class CommandRuns {
  readonly #store: Store
  readonly #gateway: Gateway
  /** Of each run, what runs now; and whether it was interrupted. */
  readonly #running = new Map<string, { sessions: Set<ServerSession<'exec'>>; interrupted: boolean }>()

  constructor(store: Store, gateway: Gateway) {
    this.#store = store
    this.#gateway = gateway
  }

  /**
   * What the servers print, as they print it, read no faster than the caller does. Ends when all have ended; the record
   * is finished then, also when the caller went away. Throws `server.unknown`, `environment.no_servers`.
   */
  async *exec(request: ExecRequest): AsyncGenerator<ExecEvent> {
    const { environment, command } = request
    const servers = selectServers(await this.#store.applications.servers(environment.id), request.on, environment.name)
    const kind = request.terminal ? 'shell' : 'exec'
    const id = await this.#store.runs.begin(
      {
        environmentId: environment.id,
        kind,
        command: command === null ? 'a shell' : commandText(command),
        requestedBy: request.requestedBy,
      },
      Date.now(),
    )
    const run = { sessions: new Set<ServerSession<'exec'>>(), interrupted: false }
    this.#running.set(id, run)
    const gone = new AbortController()
    const signal = AbortSignal.any([request.signal, gone.signal])
    const outlet = new Outlet<ExecEvent>()
    outlet.put({ kind: 'started', run: id, servers: servers.map((server) => server.name) })
    const done = this.#runBatches(servers, request, run, outlet, signal).then(async (outcomes) => {
      this.#running.delete(id)
      await this.#store.runs.finish(id, outcomes, Date.now())
      outlet.end()
    })
    try {
      yield* outlet.read(signal)
    } finally {
      gone.abort(new DployError('deployment.cancelled', 'Who asked for it went away'))
      await done
    }
  }

  /** Ends a run on all its servers, as Ctrl-C does; what waits for its turn is not begun. Throws `not_found`. */
  async interrupt(id: string): Promise<void> {
    const run = this.#running.get(id)
    if (!run) throw new DployError('not_found', 'This command does not run any more')
    run.interrupted = true
    await Promise.allSettled([...run.sessions].map((session) => session.interrupt()))
  }

  /** Puts what was typed into the terminal of a run, in order; resolves when there is room for more. Throws `not_found`. */
  async input(id: string, input: { bytes: Uint8Array; size?: TerminalSize | undefined; end: boolean }): Promise<void> {
    const run = this.#running.get(id)
    if (!run) throw new DployError('not_found', 'This shell does not run any more')
    for (const session of run.sessions) {
      if (input.size) await session.resize(input.size)
      if (input.bytes.length > 0 || input.end) await session.input(input.bytes, input.end)
    }
  }

  async #runBatches(
    servers: readonly EnvironmentServer[],
    request: ExecRequest,
    run: { sessions: Set<ServerSession<'exec'>>; interrupted: boolean },
    outlet: Outlet<ExecEvent>,
    signal: AbortSignal,
  ): Promise<CommandOutcome[]> {
    const size = request.batch ?? servers.length
    const outcomes: CommandOutcome[] = []
    const window = Math.min(mostWindow, Math.max(leastWindow, Math.floor(windowOfAll / Math.min(size, servers.length))))
    let stopped = false
    for (let start = 0; start < servers.length; start += size) {
      const batch = servers.slice(start, start + size)
      stopped ||= run.interrupted || signal.aborted
      const ended = await Promise.all(
        batch.map(async (server) => {
          const outcome = stopped
            ? { server: server.name, code: null, signal: null, ms: null, problem: null }
            : await this.#runOne(server, request, window, run.sessions, outlet, signal)
          outlet.put({ kind: 'ended', outcome })
          return outcome
        }),
      )
      outcomes.push(...ended)
      stopped ||= ended.some((outcome) => outcome.code !== 0)
    }
    return outcomes
  }

  async #runOne(
    server: EnvironmentServer,
    request: ExecRequest,
    window: number,
    sessions: Set<ServerSession<'exec'>>,
    outlet: Outlet<ExecEvent>,
    signal: AbortSignal,
  ): Promise<CommandOutcome> {
    const { environment } = request
    const pieces = { stdout: new TextPieces(), stderr: new TextPieces() }
    const began = performance.now()
    let session: ServerSession<'exec'> | null = null
    try {
      const link = this.#gateway.link(server.id)
      if (!link) throw this.#gateway.problem(server)
      session = new ServerSession({
        link,
        method: 'exec',
        window,
        signal,
        params: {
          application: environment.application,
          environment: environment.name,
          directory: releaseDirectory(environment.config, environment.name),
          command: request.command,
          ...(request.user === undefined ? {} : { user: request.user }),
          sudo: request.sudo,
          timeout: request.timeout,
          terminal: request.terminal ?? null,
        },
        onOutput: ({ stream }, bytes, taken) => {
          const made = pieces[stream].push(bytes)
          if (made.length === 0) taken()
          for (const piece of made) outlet.put({ kind: 'output', server: server.name, stream, ...piece }, taken)
        },
      })
      sessions.add(session)
      const { code, signal: ended, ms } = await session.result
      return { server: server.name, code, signal: ended, ms, problem: null }
    } catch (error) {
      return {
        server: server.name,
        code: null,
        signal: null,
        ms: performance.now() - began,
        problem: reportOf(error, server.name),
      }
    } finally {
      if (session) sessions.delete(session)
      for (const stream of ['stdout', 'stderr'] as const)
        for (const piece of pieces[stream].end()) outlet.put({ kind: 'output', server: server.name, stream, ...piece })
    }
  }
}
