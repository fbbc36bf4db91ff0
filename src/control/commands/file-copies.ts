import { releaseDirectory } from '../../protocol/config/config.ts'
import type { AgentParams } from '../../protocol/agent-messages.ts'
import type { CommandOutcome, CopyEvent } from '../../protocol/api/commands.ts'
import { formatDuration } from '../../protocol/duration.ts'
import { DployError, reportOf } from '../../protocol/errors.ts'
import { stalledAfter, StallWatch } from '../../protocol/stall-watch.ts'
import type { AgentLink } from '../gateway/agent-link.ts'
import type { Gateway } from '../gateway/gateway.ts'
import type { Environment, EnvironmentServer } from '../store/applications.ts'
import type { Store } from '../store/store.ts'
import { Outlet } from './outlet.ts'
import { selectServers } from './selection.ts'
import { ServerSession } from './server-session.ts'

/** Of a file that comes from a server, what may wait here for its reader. Bytes. */
const window = 512 * 1024
/** What a server may take longer for when it has everything: to write it to its disk. */
const patience = 4

interface Copy {
  environment: Environment
  /** By name; none: all of the environment. */
  servers: string[]
  path: string
  requestedBy: string
  /** Aborts when the caller went away. */
  signal: AbortSignal
}

export interface CopyTo extends Copy, Pick<AgentParams<'receive_file'>, 'name' | 'size' | 'mode' | 'digest'> {
  content: AsyncIterable<Uint8Array>
}

/** Brings files to servers and back, and keeps the record of it. */
export class FileCopies {
  readonly #store: Store
  readonly #gateway: Pick<Gateway, 'link' | 'problem'>
  readonly #limit: number

  /** `limit`: how long a copy may stand still. Milliseconds. */
  constructor(store: Store, gateway: Pick<Gateway, 'link' | 'problem'>, limit: number = stalledAfter) {
    this.#store = store
    this.#gateway = gateway
    this.#limit = limit
  }

  /** Gives every server the content as it comes, at the pace of the slowest; one that fails is left out from there on. */
  async to(copy: CopyTo): Promise<CommandOutcome[]> {
    const { content, name, size, mode, digest, path } = copy
    const { run, servers } = await this.#begin(copy, `${name} to ${path}`)
    const stop = new AbortController()
    const signal = AbortSignal.any([copy.signal, stop.signal])
    const began = performance.now()
    using watches = new DisposableStack()
    const targets = servers.map((server) => {
      const link = this.#gateway.link(server.id)
      const stalled = new AbortController()
      const session =
        link &&
        new ServerSession({
          link,
          method: 'receive_file',
          params: { ...placeOf(copy), path, name, size, mode, digest },
          window,
          signal: AbortSignal.any([signal, stalled.signal]),
          onOutput: () => {},
        })
      if (session) {
        const give = (limit: number, waits: () => boolean) => {
          const watch = new StallWatch({
            limit,
            waits,
            onStall: () =>
              stalled.abort(standsStill(`${server.name} took nothing more of ${path}`, limit, server.name)),
          })
          watches.use(watch)
          return watch
        }
        const watch = give(this.#limit, () => session.waits)
        session.onMoved = () => watch.moved()
        const giveLast = () => void give(this.#limit * patience, () => true)
        return { server, session, failed: false, giveLast }
      }
      return { server, session, failed: false, giveLast: () => {} }
    })
    const all = async (work: (session: ServerSession<'receive_file'>) => Promise<void>) => {
      await Promise.all(
        targets.map(async (target) => {
          if (target.session === null || target.failed || target.session.over) return
          // What ended it is its result.
          await work(target.session).catch(() => (target.failed = true))
        }),
      )
    }
    try {
      for await (const bytes of this.#unlessStill(content, name)) await all((session) => session.input(bytes))
      for (const { giveLast } of targets) giveLast()
      await all((session) => session.input(new Uint8Array(0), true))
    } catch (error) {
      stop.abort(error)
    }
    const outcomes = await Promise.all(
      targets.map(async ({ server, session }) =>
        outcomeOf(server, began, async () => (await (session ?? this.#unreachable(server)).result, undefined)),
      ),
    )
    await this.#store.runs.finish(
      run,
      outcomes.map(({ outcome }) => outcome),
      Date.now(),
    )
    return outcomes.map(({ outcome }) => outcome)
  }

  /** The file from each server, read no faster than the caller does. */
  async *from(copy: Copy): AsyncGenerator<CopyEvent> {
    const { run, servers } = await this.#begin(copy, `${copy.path} from servers`)
    const gone = new AbortController()
    const signal = AbortSignal.any([copy.signal, gone.signal])
    const outlet = new Outlet<CopyEvent>()
    outlet.put({ kind: 'started', run, servers: servers.map((server) => server.name) })
    const began = performance.now()
    const held = { pieces: 0 }
    using reading = new StallWatch({
      limit: this.#limit,
      waits: () => held.pieces > 0,
      onStall: () => gone.abort(standsStill(`Who asked for ${copy.path} read nothing more of it`, this.#limit)),
    })
    const done = Promise.all(
      servers.map(async (server) => {
        const link = this.#gateway.link(server.id)
        const { outcome, value } = await outcomeOf(server, began, () =>
          link ? this.#fetch(copy, server, link, outlet, signal, held, reading) : this.#unreachable(server),
        )
        outlet.put({ kind: 'ended', outcome, file: value ?? null })
        return outcome
      }),
    ).then(async (outcomes) => {
      await this.#store.runs.finish(run, outcomes, Date.now())
      outlet.end()
    })
    try {
      yield* outlet.read(signal)
      if (gone.signal.aborted) throw gone.signal.reason
    } finally {
      gone.abort(new DployError('deployment.cancelled', 'Who asked for it went away'))
      await done
    }
  }

  /** What comes, as long as it comes. Throws `file.stalled`. */
  async *#unlessStill(content: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
    const iterator = content[Symbol.asyncIterator]()
    let giveUp: ((error: DployError) => void) | null = null
    using watch = new StallWatch({
      limit: this.#limit,
      waits: () => giveUp !== null,
      onStall: () => giveUp?.(standsStill(`Nothing more of ${name} came from who sends it`, this.#limit)),
    })
    try {
      for (;;) {
        watch.moved()
        // A race against one promise for all would keep every piece for as long as that lives.
        const next = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
          giveUp = reject
          iterator.next().then(resolve, reject)
        })
        giveUp = null
        if (next.done) return
        yield next.value
      }
    } finally {
      // It is not waited for: what does not come does not end either.
      void iterator.return?.()?.then(undefined, () => {})
    }
  }

  #unreachable(server: EnvironmentServer): never {
    throw this.#gateway.problem(server)
  }

  async #begin(copy: Copy, what: string): Promise<{ run: string; servers: EnvironmentServer[] }> {
    const { environment } = copy
    const servers = selectServers(
      await this.#store.applications.servers(environment.id),
      { servers: copy.servers, tags: {} },
      environment.name,
    )
    return {
      run: await this.#store.runs.begin(
        { environmentId: environment.id, kind: 'copy', command: what, requestedBy: copy.requestedBy },
        Date.now(),
      ),
      servers,
    }
  }

  async #fetch(
    copy: Copy,
    server: EnvironmentServer,
    link: AgentLink,
    outlet: Outlet<CopyEvent>,
    signal: AbortSignal,
    held: { pieces: number },
    reading: StallWatch,
  ) {
    const stalled = new AbortController()
    using sending = new StallWatch({
      limit: this.#limit,
      waits: () => held.pieces === 0,
      onStall: () =>
        stalled.abort(standsStill(`${server.name} sent nothing more of ${copy.path}`, this.#limit, server.name)),
    })
    const onOutput = ({ size }: { size: number }, bytes: Uint8Array, taken: () => void) => {
      sending.moved()
      held.pieces++
      outlet.put({ kind: 'data', server: server.name, size, base64: Buffer.from(bytes).toString('base64') }, () => {
        held.pieces--
        reading.moved()
        taken()
      })
    }
    return await new ServerSession({
      link,
      method: 'send_file',
      params: { ...placeOf(copy), path: copy.path },
      window,
      signal: AbortSignal.any([signal, stalled.signal]),
      onOutput,
    }).result
  }
}

function standsStill(what: string, limit: number, where?: string): DployError {
  return new DployError('file.stalled', `${what} for ${formatDuration(limit)}; the copy was ended`, { where })
}

function placeOf({ environment }: Copy) {
  return {
    application: environment.application,
    environment: environment.name,
    directory: releaseDirectory(environment.config, environment.name),
  }
}

async function outcomeOf<T>(
  server: EnvironmentServer,
  began: number,
  work: () => Promise<T>,
): Promise<{ outcome: CommandOutcome; value?: T }> {
  const base = { server: server.name, code: null, signal: null, problem: null }
  try {
    const value = await work()
    return { outcome: { ...base, code: 0, ms: performance.now() - began }, value }
  } catch (error) {
    return { outcome: { ...base, ms: performance.now() - began, problem: reportOf(error, server.name) } }
  }
}
