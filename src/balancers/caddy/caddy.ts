import { readFileSync } from 'node:fs'
import type { BalancerConfig } from '../../protocol/config/config.ts'
import { DployError } from '../../protocol/errors.ts'
import { answers } from '../answers.ts'
import { Changes } from '../changes.ts'
import type { Balancer, BalancerDriver, DrainOptions, RegisterOptions, ServerTraffic } from '../contract.ts'
import { KeptOut } from '../kept-out.ts'
import { untilAnswers, untilQuiet } from '../waiting.ts'
import { AdminApi } from './admin-api.ts'
import { findHandler, moved, parkedDials, proxyHandlers, top, type Json } from './routes.ts'

/** How often a change is tried again because somebody else changed the configuration meanwhile. */
const attempts = 10

/** Whether the kernel gives connections that nobody accepted yet to the next listener; null: it does not tell. */
function migratesRequests(): boolean | null {
  try {
    return readFileSync('/proc/sys/net/ipv4/tcp_migrate_req', 'utf8').trim() !== '0'
  } catch {
    return null
  }
}

/**
 * Caddy by its admin API: the upstreams of named reverse_proxy handlers. Caddy has no state of a server that keeps traffic
 * from it, so a drained one is moved into a handler that nothing is routed to (see routes.ts), where Caddy still counts
 * its requests in flight. Every change is a graceful reload of Caddy.
 *
 * A reload closes the idle connections of users, and WebSockets too unless `stream_close_delay` is set (Caddy 2.7).
 * Whether a server is up this driver asks the server: the admin API does not tell.
 */
class Caddy implements Balancer {
  readonly kind = 'caddy'
  readonly capabilities = { countsInFlight: true, counts: false, drains: true, reloads: true }
  readonly remedies: Balancer['remedies'] = {
    restarted: {
      text: 'Let connections that Caddy has not accepted yet go to its next listener when its configuration changes',
      where: 'balancer',
      lines: ['sysctl -w net.ipv4.tcp_migrate_req=1'],
    },
  }
  readonly #config: Extract<BalancerConfig, { kind: 'caddy' }>
  readonly #apis: AdminApi[]
  readonly #changes: Changes
  readonly #keptOut = new KeptOut((servers) => this.#assert(servers))
  readonly #closed = new AbortController()

  constructor(config: Extract<BalancerConfig, { kind: 'caddy' }>) {
    this.#config = config
    this.#apis = config.address.map((address) => new AdminApi(address))
    this.#changes = new Changes(config.address.toSorted().join(), (changes) => this.#bringIn(changes))
  }

  async check(servers: readonly string[], signal: AbortSignal): Promise<void> {
    await this.#each(signal, (api, tree) => servers.map((server) => this.#find(api, tree, server)))
  }

  async read(servers: readonly string[], signal: AbortSignal): Promise<ServerTraffic[]> {
    const found = await this.#each(signal, (api, tree) => servers.map((server) => this.#find(api, tree, server)))
    const counts = await this.#counts(signal)
    return await Promise.all(
      servers.map(async (server, index) => {
        const places = found.map((one) => one[index]!)
        const dials = [...new Set(places.flatMap((place) => place.dials))]
        const inFlight = sum(dials, counts)
        const checks = await Promise.all(dials.map((dial) => answers(dial, this.#config.check)))
        const worst = checks.find((check) => !check.up) ?? checks[0]!
        return {
          server,
          admission: places.every((place) => place.out) ? (inFlight > 0 ? 'draining' : 'out') : 'ready',
          up: worst.up,
          inFlight,
          check: worst.check,
        }
      }),
    )
  }

  async drain(server: string, options: DrainOptions): Promise<{ inFlight: number }> {
    const dials = await this.#dials(server, options.signal)
    await this.#changes.apply(server, true, options.signal)
    this.#keptOut.add(server)
    return await untilQuiet(async () => sum(dials, await this.#counts(options.signal)), options)
  }

  async register(server: string, options: RegisterOptions): Promise<void> {
    await untilAnswers(server, await this.#dials(server, options.signal), this.#config.check, options)
    this.#keptOut.delete(server)
    await this.#changes.apply(server, false, options.signal)
  }

  /** On this machine the kernel tells whether a reload drops connections. */
  advice(): string[] {
    if (
      !this.#config.address.some((address) => /^unix:|^tcp:(127\.|localhost|\[::1\])/.test(address)) ||
      migratesRequests() !== false
    )
      return []
    return [
      'Caddy drops connections that it has not accepted yet whenever a server leaves or joins (docs/caddy.md); on its machine: sysctl -w net.ipv4.tcp_migrate_req=1',
    ]
  }

  async counters(): Promise<null> {
    return null
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#keptOut[Symbol.dispose]()
    await this.#changes.idle()
    this.#closed.abort()
  }

  async #bringIn(changes: ReadonlyMap<string, boolean>): Promise<void> {
    const { signal } = this.#closed
    await Promise.all(
      this.#apis.map(async (api) => {
        for (let attempt = 1; attempt <= attempts; attempt++) {
          const { value, tag } = await api.get(top, signal)
          let wanted = value
          for (const name of this.#config.handler) {
            const dials = [...changes].flatMap(([server, out]) =>
              this.#find(api, value, server, name).dials.map((dial) => [dial, out] as const),
            )
            wanted = moved(wanted, name, new Map(dials))
          }
          // Also what is right already may be on its way: only an answer to a change says that it runs.
          if (await api.replace(top, wanted, tag, signal)) return
        }
        throw new DployError(
          'balancer.refused',
          `Somebody else goes on changing the configuration of Caddy at ${api.address}`,
          { where: api.address, fix: 'Find out who writes to its admin API, then deploy again' },
        )
      }),
    )
  }

  /** Caddy was started again, or loaded its configuration from a file. */
  async #assert(servers: ReadonlySet<string>): Promise<void> {
    const { signal } = this.#closed
    const lost = await this.#each(signal, (api, tree) =>
      [...servers].filter((server) => !this.#find(api, tree, server).out),
    )
    await Promise.all([...new Set(lost.flat())].map((server) => this.#changes.apply(server, true, signal)))
  }

  async #dials(server: string, signal: AbortSignal): Promise<string[]> {
    const found = await this.#each(signal, (api, tree) => this.#find(api, tree, server).dials)
    return [...new Set(found.flat())]
  }

  /** Requests in flight by address, over all Caddies. */
  async #counts(signal: AbortSignal): Promise<Map<string, number>> {
    const counts = new Map<string, number>()
    for (const { value } of await Promise.all(this.#apis.map((api) => api.get('/reverse_proxy/upstreams', signal)))) {
      for (const { address, num_requests } of value as { address: string; num_requests: number }[])
        counts.set(address, (counts.get(address) ?? 0) + num_requests)
    }
    return counts
  }

  async #each<T>(signal: AbortSignal, work: (api: AdminApi, tree: Json) => T): Promise<T[]> {
    signal.throwIfAborted()
    return await Promise.all(this.#apis.map(async (api) => work(api, (await api.get(top, signal)).value)))
  }

  /** What a server is in the handlers. Throws `balancer.unknown_backend`, `balancer.unknown_server`. */
  #find(api: AdminApi, tree: Json, server: string, only?: string): { dials: string[]; out: boolean } {
    const dials: string[] = []
    let out = true
    for (const name of only === undefined ? this.#config.handler : [only]) {
      const handler = findHandler(tree, name)
      if (!handler) {
        const has = proxyHandlers(tree).map((one) => `${one.id ?? one.path} (${one.dials.join(', ')})`)
        throw new DployError(
          'balancer.unknown_backend',
          `Caddy at ${api.address} has no reverse_proxy handler ${name}; it has ${has.join('; ') || 'none'}`,
          {
            where: api.address,
            fix: 'Give the handler an "@id", or write its path, into dploy.yml under balancer.handler',
          },
        )
      }
      const parked = parkedDials(tree, name)
      const own = this.#own(server, [...handler.dials, ...parked])
      if (own.length === 0) {
        throw new DployError(
          'balancer.unknown_server',
          `The handler ${name} of Caddy at ${api.address} has no server ${server}; it has ${[...handler.dials, ...parked].join(', ') || 'none'}`,
          {
            where: api.address,
            fix: `Write its address, as the handler has it, into dploy.yml: balancer.servers.${server}`,
          },
        )
      }
      dials.push(...own)
      if (own.some((dial) => !parked.includes(dial) || handler.dials.includes(dial))) out = false
    }
    return { dials, out }
  }

  /** By the addresses in dploy.yml; else those whose host is the name. */
  #own(server: string, dials: readonly string[]): string[] {
    const addresses = Object.hasOwn(this.#config.servers, server) ? this.#config.servers[server]! : null
    if (addresses) return addresses.every((address) => dials.includes(address)) ? addresses : []
    return [...new Set(dials.filter((dial) => dial.replace(/:\d+$/, '') === server))]
  }
}

export const caddyDriver: BalancerDriver<'caddy'> = { kind: 'caddy', open: (config) => new Caddy(config) }

function sum(dials: readonly string[], counts: ReadonlyMap<string, number>): number {
  return dials.reduce((total, dial) => total + (counts.get(dial) ?? 0), 0)
}
