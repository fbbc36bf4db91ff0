import type { Logger } from 'pino'
import type { Balancer } from '../../../balancers/contract.ts'
import type { BalancerConfig } from '../../../protocol/config/config.ts'
import type { Environment } from '../../store/applications.ts'
import type { Store } from '../../store/store.ts'
import { EnvironmentWatch } from './environment-watch.ts'
import { isIdle } from '../strategies/groups.ts'

/** Milliseconds. */
const askTimeout = 2_000

/**
 * Keeps out of traffic who is to be out, for a balancer that is started anew brings every server in: those that a person
 * drained, and, between deployments, the group that does not serve, which would bring in the release before.
 */
export class OutKeeper implements AsyncDisposable {
  readonly #options: { store: Store; openBalancer(config: BalancerConfig): Balancer; log: Logger }
  readonly #watch: EnvironmentWatch

  constructor(options: { store: Store; openBalancer(config: BalancerConfig): Balancer; log: Logger }) {
    this.#options = options
    this.#watch = new EnvironmentWatch({ ...options, look: (environment, signal) => this.#keep(environment, signal) })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#watch[Symbol.asyncDispose]()
  }

  async #keep(environment: Environment, stop: AbortSignal): Promise<void> {
    const { log } = this.#options
    const config = environment.config.environments[environment.name]
    if (!config || config.balancer.kind === 'none') return
    const out = await this.#out(environment)
    if (out.length === 0) return
    const signal = AbortSignal.any([stop, AbortSignal.timeout(askTimeout)])
    await using balancer = this.#options.openBalancer(config.balancer)
    if (!balancer.capabilities.drains) return
    const seen = (await balancer.read(out, signal))
      .filter(({ admission }) => admission === 'ready')
      .map(({ server }) => server)
    if (seen.length === 0) return
    // What was seen is old news if a deployment began meanwhile, or a person put a server back.
    const still = new Set(await this.#out(environment))
    const inTraffic = seen.filter((name) => still.has(name))
    if (inTraffic.length === 0) return
    log.info(
      { environment: `${environment.application}/${environment.name}`, servers: inTraffic },
      'taking servers out of traffic that are to be out of it',
    )
    await Promise.all(inTraffic.map((name) => balancer.drain(name, { timeout: 0, signal })))
    await this.#giveBack(environment, balancer, inTraffic, stop)
  }

  /** Names of those that are to be out now. A deployment that is under way sees to the groups itself, and puts nobody back whom a person drained. */
  async #out(environment: Environment): Promise<string[]> {
    const { store } = this.#options
    const config = environment.config.environments[environment.name]
    const [servers, keptOut] = [await store.applications.servers(environment.id), await store.servers.keptOut()]
    const idle = servers.filter((server) => isIdle(server, config, environment.liveGroup))
    const between = idle.length > 0 && (await store.deployments.unfinished(environment.id)).length === 0
    return servers
      .filter((server) => keptOut.has(server.id) || (between && idle.includes(server)))
      .map(({ name }) => name)
  }

  /** Whom a person put back while it was taken out here. */
  async #giveBack(
    environment: Environment,
    balancer: Balancer,
    taken: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const { store } = this.#options
    const config = environment.config.environments[environment.name]
    const keptOut = await store.servers.keptOut()
    const back = (await store.applications.servers(environment.id)).filter(
      (server) =>
        taken.includes(server.name) && !keptOut.has(server.id) && !isIdle(server, config, environment.liveGroup),
    )
    await Promise.all(
      back.map(({ name }) =>
        balancer.register(name, {
          timeout: environment.config.environments[environment.name]!.timeouts.register,
          signal,
        }),
      ),
    )
  }
}
