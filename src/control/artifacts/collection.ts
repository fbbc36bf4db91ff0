import type { Logger } from 'pino'
import type { Digest } from '../../protocol/manifest.ts'
import type { Store } from '../store/store.ts'
import type { Artifacts } from './artifacts.ts'

/** So long after a deployment ended, and at most so often. Milliseconds. */
const soon = 60_000
const every = 3_600_000

/** Keeps the objects of the control plane from growing for ever: after deployments it removes what nothing needs any more. */
export class Collection implements Disposable {
  readonly #options: { store: Store; artifacts: Artifacts; log: Logger }
  #timer: NodeJS.Timeout | null = null
  #last = 0

  constructor(options: { store: Store; artifacts: Artifacts; log: Logger }) {
    this.#options = options
  }

  /** A deployment is over. */
  after(): void {
    if (this.#timer !== null) return
    const wait = Math.max(soon, this.#last + every - Date.now())
    this.#timer = setTimeout(() => {
      this.#timer = null
      void this.#run().catch((error: unknown) =>
        this.#options.log.warn({ err: error }, 'old objects could not be removed'),
      )
    }, wait)
    this.#timer.unref()
  }

  [Symbol.dispose](): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  async #run(): Promise<void> {
    const { store, artifacts, log } = this.#options
    const collected = await artifacts.collect(() => neededArtifacts(store), Date.now())
    if (collected === null) return this.after()
    this.#last = Date.now()
    if (collected.objects + collected.manifests > 0) log.info(collected, 'removed what no release needs')
  }
}

/** What deployments that are not over need, and what each environment may go back to: as much as its servers keep. */
export async function neededArtifacts(store: Store): Promise<Digest[]> {
  const needed = await store.releases.artifactsInUse()
  for (const { id, config, wantedRelease } of await store.applications.environments()) {
    needed.push(...(await store.releases.artifactsOf(id, config.release.keep + 1)))
    if (wantedRelease !== null) needed.push((await store.releases.get(wantedRelease)).spec.artifact)
  }
  return needed
}
