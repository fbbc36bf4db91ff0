import { DployError } from '../../../protocol/errors.ts'
import type { EnvironmentServer } from '../../store/applications.ts'
import type { Release } from '../../store/releases.ts'
import type { Run } from '../run/run.ts'

/** Longer than any deployment: a watch ends when it is stopped or when the service fails. Milliseconds. */
const watchDuration = 24 * 3_600_000

/**
 * Keeps an eye on the servers that were switched, from the moment they serve until the deployment is over. The agents
 * tell of an exit or of failing checks the moment they see it; such a server is taken out of traffic at once.
 */
export class Watch implements AsyncDisposable {
  readonly #run: Run
  readonly #stopAll = new AbortController()
  readonly #stops = new Map<string, AbortController>()
  readonly #tasks = new Set<Promise<void>>()
  readonly #onFailure: (server: EnvironmentServer, error: unknown) => void

  constructor(run: Run, onFailure: (server: EnvironmentServer, error: unknown) => void) {
    this.#run = run
    this.#onFailure = onFailure
  }

  start(server: EnvironmentServer, release: Release): void {
    if (release.spec.service === null) return
    const stop = new AbortController()
    this.#stops.set(server.name, stop)
    const task = this.#watch(server, release, AbortSignal.any([stop.signal, this.#stopAll.signal])).finally(() =>
      this.#tasks.delete(task),
    )
    this.#tasks.add(task)
  }

  stop(server: EnvironmentServer): void {
    this.#stops.get(server.name)?.abort(new DployError('deployment.cancelled', 'No longer watched'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopAll.abort(new DployError('deployment.cancelled', 'No longer watched'))
    await Promise.allSettled(this.#tasks)
  }

  async #watch(server: EnvironmentServer, release: Release, signal: AbortSignal): Promise<void> {
    try {
      await this.#run.command(
        server,
        'watch',
        {
          release: release.spec,
          local: await this.#run.localOf(server, release),
          duration: watchDuration,
        },
        { timeout: watchDuration, signal },
      )
    } catch (error) {
      if (signal.aborted) return
      this.#onFailure(server, error)
      // Users first: what comes of the deployment is decided after nothing reaches this server any more.
      await this.#run.balancer.drain(server.name, { timeout: 0, signal }).catch(() => {})
    }
  }
}
