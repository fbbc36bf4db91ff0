import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Environment } from '../../store/applications.ts'
import type { Store } from '../../store/store.ts'

/** How often environments are looked at. Milliseconds. */
const lookEvery = 1_000

/** Looks at every environment again and again, until it is disposed of. What fails in one, keeps none of the others from being looked at. */
export class EnvironmentWatch implements AsyncDisposable {
  readonly #stop = new AbortController()
  readonly #running: Promise<void>

  /** `signal` ends with the watch. */
  constructor(options: {
    store: { applications: Pick<Store['applications'], 'environments'> }
    log: Pick<Logger, 'debug'>
    look(environment: Environment, signal: AbortSignal): Promise<void>
  }) {
    this.#running = this.#run(options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run({ store, log, look }: ConstructorParameters<typeof EnvironmentWatch>[0]): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await delay(lookEvery, undefined, { signal, ref: false }).catch(() => {})
      if (signal.aborted) return
      const environments = await store.applications
        .environments()
        .catch((error: unknown) => (log.debug({ err: error }, 'environments could not be looked at'), []))
      for (const environment of environments) {
        if (signal.aborted) return
        await look(environment, signal).catch((error: unknown) =>
          log.debug(
            { err: error, environment: `${environment.application}/${environment.name}` },
            'an environment could not be looked at',
          ),
        )
      }
    }
  }
}
