import { DployError } from '../../protocol/errors.ts'
import type { RuntimeApi } from './runtime-api.ts'
import { parseStatistics, type StatRow } from './statistics.ts'

/** When, after a port was changed, kept connections to the former one are closed. Milliseconds. */
const purgeAfter = [50, 250, 1_000, 2_500, 5_000, 10_000, 20_000, 40_000]

/**
 * The ports of servers, where releases have ports of their own.
 *
 * HAProxy closes its idle connections to a server whose port changes, but one that was in use then becomes idle later,
 * is kept, and leads what is new to the former port (seen with 2.6). So the port is changed to the former one and back,
 * in one go, from time to time: that closes what has become idle since (`srv_update_addr_port` in its source).
 */
export class ServerPorts implements Disposable {
  readonly #apis: readonly RuntimeApi[]
  readonly #backends: readonly string[]
  readonly #closed: AbortSignal
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #looking = new Map<RuntimeApi, Promise<string>>()
  /** The port that each server has to have. */
  readonly wanted = new Map<string, number>()

  constructor(apis: readonly RuntimeApi[], backends: readonly string[], closed: AbortSignal) {
    this.#apis = apis
    this.#backends = backends
    this.#closed = closed
  }

  /** Changes a server's port at every HAProxy, where it is another one. */
  async set(server: string, port: number): Promise<void> {
    this.wanted.set(server, port)
    await Promise.all(
      this.#apis.map(async (api) => {
        const former = await this.#former(api, server, port)
        if (former.length === 0) return
        await change(
          api,
          former.map(({ name, host }) => command(name, host, port)),
          this.#closed,
        )
        for (const wait of purgeAfter) this.#later(wait, () => this.#purge(api, server, port, former))
      }),
    )
  }

  [Symbol.dispose](): void {
    for (const timer of this.#timers) clearTimeout(timer)
  }

  async #purge(api: RuntimeApi, server: string, port: number, former: readonly Place[]): Promise<void> {
    if (this.wanted.get(server) !== port) return
    await change(
      api,
      former.flatMap(({ name, host, port: before }) => [command(name, host, before), command(name, host, port)]),
      this.#closed,
    )
  }

  /** Sets ports again that a reload has undone. */
  async assert(): Promise<void> {
    await Promise.all([...this.wanted].map(([server, port]) => this.set(server, port)))
  }

  /** Where the server is now in each backend in which it is not at `port`. */
  async #former(api: RuntimeApi, server: string, port: number): Promise<Place[]> {
    // Callers at the same time share one look.
    let looking = this.#looking.get(api)
    if (!looking) {
      looking = api.ask('show stat -1 4 -1', this.#closed).finally(() => this.#looking.delete(api))
      this.#looking.set(api, looking)
    }
    return parseStatistics(await looking)
      .filter((row) => row.svname === server && this.#backends.includes(row.pxname!))
      .map((row) => ({ name: `${row.pxname}/${server}`, ...addressOf(row) }))
      .filter((place) => place.port !== port)
  }

  #later(ms: number, work: () => Promise<void>): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      void work().catch(() => {})
    }, ms)
    timer.unref()
    this.#timers.add(timer)
  }
}

interface Place {
  /** BACKEND/SERVER. */
  name: string
  host: string
  port: number
}

/** The port of a row of `show stat`; null where HAProxy does not say. */
export function portOf(row: StatRow): number | null {
  const port = Number(/:(\d+)$/.exec(row.addr ?? '')?.[1])
  return Number.isInteger(port) ? port : null
}

function addressOf(row: StatRow): { host: string; port: number } {
  const port = portOf(row)
  if (port === null)
    throw new DployError('balancer.refused', `HAProxy does not tell the address of ${row.pxname}/${row.svname}`, {
      fix: 'Give its control socket "level admin", and the server an address of its own',
    })
  return { host: row.addr!.slice(0, row.addr!.lastIndexOf(':')).replace(/^\[|\]$/g, ''), port }
}

function command(name: string, host: string, port: number): string {
  return `set server ${name} addr ${host} port ${port}`
}

/** What changes is told; anything else is an error. */
async function change(api: RuntimeApi, commands: readonly string[], signal: AbortSignal): Promise<void> {
  const answer = (await api.ask(commands.join(';'), signal)).trim()
  const wrong = answer.split('\n').find((line) => line.trim() !== '' && !/changed from|no need to change/.test(line))
  if (wrong !== undefined)
    throw new DployError('balancer.refused', `HAProxy at ${api.address} does not change a port: ${wrong}`, {
      where: api.address,
    })
}
