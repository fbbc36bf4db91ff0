import type { BalancerConfig } from '../../protocol/config/config.ts'
import { answers } from '../answers.ts'
import type { Balancer, BalancerDriver, DrainOptions, RegisterOptions, ServerTraffic } from '../contract.ts'
import { KeptOut } from '../kept-out.ts'
import { untilAnswers, untilQuiet } from '../waiting.ts'
import { socketAddresses } from './addresses.ts'
import { connectionsTo, workersOf } from './processes.ts'
import { Reloads } from './reloads.ts'
import { Upstream } from './upstream.ts'

/**
 * nginx on this machine: a server is marked `down` in the upstream file, and nginx reloads. New workers then never send
 * it anything; in flight is what old workers still have open towards it. They close their idle connections when they are
 * told to shut down, so what is left are requests (and WebSockets).
 *
 * A reload also closes the idle connections of users. One who sends a request at that moment has to send it again, which
 * browsers and most clients do by themselves; nginx 1.27.4 and later keep such connections open (`keepalive_min_timeout`).
 *
 * nginx (without Plus) does not check servers by itself: whether one is up, this driver asks the server.
 */
class Nginx implements Balancer {
  readonly kind = 'nginx'
  readonly capabilities = { countsInFlight: true, counts: false, drains: true, reloads: true }
  readonly remedies: Balancer['remedies'] = {
    restarted: {
      text: 'Let old workers of nginx end what they have',
      where: 'balancer',
      lines: ['worker_shutdown_timeout 60s;'],
    },
  }
  readonly #config: Extract<BalancerConfig, { kind: 'nginx' }>
  readonly #upstream: Upstream
  readonly #reloads: Reloads
  readonly #keptOut = new KeptOut((servers) => this.#assert(servers))
  /** Servers that the file may name as down already while nginx has not reloaded yet. */
  readonly #pending = new Set<string>()

  constructor(config: Extract<BalancerConfig, { kind: 'nginx' }>) {
    this.#config = config
    this.#upstream = new Upstream(config)
    this.#reloads = new Reloads(config, this.#upstream)
  }

  async check(servers: readonly string[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const upstreams = await this.#upstream.read()
    for (const server of servers) await socketAddresses(upstreams.entriesOf(server))
    await this.#upstream.checkWritable()
    await this.#reloads.master()
    await this.#reloads.test(signal)
  }

  async read(servers: readonly string[], signal: AbortSignal): Promise<ServerTraffic[]> {
    signal.throwIfAborted()
    const upstreams = await this.#upstream.read()
    return await Promise.all(
      servers.map(async (server) => {
        const entries = upstreams.entriesOf(server)
        const inFlight = await this.#inFlight(server)
        const checks = await Promise.all(entries.map((entry) => answers(entry.address, this.#config.check)))
        const down = entries.every((entry) => entry.down) && !this.#pending.has(server)
        const worst = checks.find((check) => !check.up) ?? checks[0]!
        return {
          server,
          admission: down ? (inFlight > 0 ? 'draining' : 'out') : 'ready',
          up: worst.up,
          inFlight,
          check: worst.check,
        }
      }),
    )
  }

  async drain(server: string, options: DrainOptions): Promise<{ inFlight: number }> {
    options.signal.throwIfAborted()
    await this.#out(server, options.signal)
    return await untilQuiet(() => this.#inFlight(server), options)
  }

  async register(server: string, options: RegisterOptions): Promise<void> {
    options.signal.throwIfAborted()
    const entries = (await this.#upstream.read()).entriesOf(server)
    await socketAddresses(entries)
    await untilAnswers(
      server,
      entries.map((entry) => entry.address),
      this.#config.check,
      options,
    )
    this.#keptOut.delete(server)
    await this.#reloads.apply(server, false, options.signal)
  }

  async counters(): Promise<null> {
    return null
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#keptOut[Symbol.dispose]()
    await this.#reloads.idle()
  }

  async #out(server: string, signal: AbortSignal): Promise<void> {
    // A change that cannot be made would fail those that are bundled with it.
    await socketAddresses((await this.#upstream.read()).entriesOf(server))
    this.#pending.add(server)
    try {
      await this.#reloads.apply(server, true, signal)
    } finally {
      this.#pending.delete(server)
    }
    this.#keptOut.add(server)
  }

  /** Somebody else (a configuration management) may write the file as it was before. */
  async #assert(servers: ReadonlySet<string>): Promise<void> {
    const upstreams = await this.#upstream.read()
    const lost = [...servers].filter((server) => !upstreams.entriesOf(server).every((entry) => entry.down))
    await Promise.all(lost.map((server) => this.#reloads.apply(server, true, new AbortController().signal)))
  }

  async #inFlight(server: string): Promise<number> {
    const entries = (await this.#upstream.read()).entriesOf(server)
    return await connectionsTo(await socketAddresses(entries), await workersOf(await this.#reloads.master()))
  }
}

export const nginxDriver: BalancerDriver<'nginx'> = { kind: 'nginx', open: (config) => new Nginx(config) }
