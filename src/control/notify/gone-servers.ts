import type { Logger } from 'pino'
import type { Gateway } from '../gateway/gateway.ts'
import type { Store } from '../store/store.ts'
import type { Notifier } from './notifier.ts'

/** How often it is looked, and how long an agent may be away before people are told: it is started anew in between. Milliseconds. */
const lookEvery = 5_000
const patience = 60_000

/** Tells of servers whose agents stay away, once for each time. */
export class GoneServers implements Disposable {
  readonly #options: { store: Store; gateway: Pick<Gateway, 'link'>; notifier: Notifier; log: Logger }
  readonly #patience: number
  readonly #away = new Map<string, number>()
  readonly #timer: NodeJS.Timeout

  constructor(options: {
    store: Store
    gateway: Pick<Gateway, 'link'>
    notifier: Notifier
    log: Logger
    patience?: number
    lookEvery?: number
  }) {
    this.#options = options
    this.#patience = options.patience ?? patience
    this.#timer = setInterval(
      () =>
        void this.look().catch((error: unknown) =>
          options.log.error({ err: error }, 'servers could not be looked after'),
        ),
      options.lookEvery ?? lookEvery,
    )
    this.#timer.unref()
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  /** Servers that never were connected are not missed; one that was when this control plane stopped is. */
  async look(now = Date.now()): Promise<void> {
    const { store, gateway, notifier } = this.#options
    const told = await store.outbox.goneServers()
    for (const server of await store.servers.all()) {
      if (server.lastSeenAt === null || gateway.link(server.id)?.open === true) {
        this.#away.delete(server.id)
        if (told.has(server.id)) await store.outbox.serverGone(server.id, null)
        continue
      }
      const since = this.#away.get(server.id) ?? now
      this.#away.set(server.id, since)
      if (told.has(server.id) || now - since < this.#patience) continue
      await notifier.serverGone(server, server.lastSeenAt)
      await store.outbox.serverGone(server.id, server.lastSeenAt)
    }
  }
}
