import type { Logger } from 'pino'
import type { Balancer } from '../../../balancers/contract.ts'
import { releaseDirectory, type BalancerConfig } from '../../../protocol/config/config.ts'
import { handoverOf } from '../../../protocol/release-spec.ts'
import type { Gateway } from '../../gateway/gateway.ts'
import type { Environment } from '../../store/applications.ts'
import type { Store } from '../../store/store.ts'
import { EnvironmentWatch } from './environment-watch.ts'

/** Milliseconds. */
const askTimeout = 2_000

/**
 * Where releases have ports of their own, keeps the balancer told: one that is reloaded asks those in its configuration
 * again. Leaves environments alone in which a deployment is under way, which tells it itself.
 */
export class PortKeeper implements AsyncDisposable {
  readonly #options: { store: Store; gateway: Gateway; openBalancer(config: BalancerConfig): Balancer; log: Logger }
  readonly #watch: EnvironmentWatch

  constructor(options: {
    store: Store
    gateway: Gateway
    openBalancer(config: BalancerConfig): Balancer
    log: Logger
  }) {
    this.#options = options
    this.#watch = new EnvironmentWatch({ ...options, look: (environment, signal) => this.#keep(environment, signal) })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#watch[Symbol.asyncDispose]()
  }

  async #keep(environment: Environment, stop: AbortSignal): Promise<void> {
    const { store, gateway, log } = this.#options
    const { service } = environment.config
    const config = environment.config.environments[environment.name]
    if (!config || environment.wantedRelease === null || handoverOf(service ?? null) !== 'port') return
    // Not kept open: it would hold on to a port that a deployment changes.
    await using balancer = this.#options.openBalancer(config.balancer)
    if (!balancer.readdress || (await store.deployments.unfinished(environment.id)).length > 0) return
    const signal = AbortSignal.any([stop, AbortSignal.timeout(askTimeout)])
    const place = {
      application: environment.application,
      environment: environment.name,
      directory: releaseDirectory(environment.config, environment.name),
    }
    const ports = await Promise.all(
      (await store.applications.servers(environment.id)).map(async ({ id, name }) => {
        const seen = await gateway
          .link(id)
          ?.command('observe', place, {
            application: place.application,
            environment: place.environment,
            epoch: 0,
            signal,
          })
          .catch(() => null)
        return { name, port: seen?.service.port }
      }),
    )
    // What was seen is old news if a deployment began meanwhile.
    if ((await store.deployments.unfinished(environment.id)).length > 0) return
    await Promise.all(
      ports.map(async ({ name, port }) => port !== undefined && balancer.readdress!(name, port, signal)),
    ).catch((error: unknown) =>
      log.warn({ err: error, environment: environment.id }, 'the balancer could not be told where releases listen'),
    )
  }
}
