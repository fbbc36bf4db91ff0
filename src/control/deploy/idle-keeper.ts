import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Balancer } from '../../balancers/contract.ts'
import type { BalancerConfig } from '../../protocol/config.ts'
import type { Environment } from '../store/applications.ts'
import type { Store } from '../store/store.ts'
import { isIdle } from './groups.ts'

/** How often balancers are asked about groups that do not serve. Milliseconds. */
const lookEvery = 1_000
const askTimeout = 2_000

/**
 * Keeps the group of servers that does not serve out of traffic, between deployments: a balancer that is started anew, or a
 * server that joins, would bring in the release before. Environments in which a deployment is under way are left to it.
 */
export class IdleKeeper implements AsyncDisposable {
  readonly #options: { store: Store; openBalancer(config: BalancerConfig): Balancer; log: Logger }
  readonly #stop = new AbortController()
  readonly #running: Promise<void>

  constructor(options: { store: Store; openBalancer(config: BalancerConfig): Balancer; log: Logger }) {
    this.#options = options
    this.#running = this.#run()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await delay(lookEvery, undefined, { signal, ref: false }).catch(() => {})
      if (signal.aborted) return
      try {
        for (const environment of await this.#options.store.applications.environments()) await this.#keep(environment)
      } catch (error) {
        this.#options.log.debug({ err: error }, 'groups that do not serve could not be looked at')
      }
    }
  }

  async #keep(environment: Environment): Promise<void> {
    const { store, log } = this.#options
    const config = environment.config.environments[environment.name]
    if (!config || environment.liveGroup === null) return
    const idle = (await store.applications.servers(environment.id)).filter((server) => isIdle(server, config, environment.liveGroup)).map(({ name }) => name)
    if (idle.length === 0 || (await store.deployments.unfinished(environment.id)).length > 0) return
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(askTimeout)])
    await using balancer = this.#options.openBalancer(config.balancer)
    const inTraffic = (await balancer.read(idle, signal)).filter(({ admission }) => admission === 'ready').map(({ server }) => server)
    // What was seen is old news if a deployment began meanwhile.
    if (inTraffic.length === 0 || (await store.deployments.unfinished(environment.id)).length > 0) return
    log.info({ environment: `${environment.application}/${environment.name}`, servers: inTraffic }, 'taking servers of the group that does not serve out of traffic')
    await Promise.all(inTraffic.map((name) => balancer.drain(name, { timeout: 0, signal })))
  }
}
