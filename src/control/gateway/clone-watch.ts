import type { Logger } from 'pino'
import type { Server } from '../store/servers.ts'
import type { Store } from '../store/store.ts'
import type { AgentLink } from './agent-link.ts'
import { cloned } from './keys.ts'

/** How long the agent that is connected has to show that it lives. Milliseconds. */
const patience = 2_000
/** How many earlier runs of an agent are remembered for each server. */
const remembered = 20

/**
 * Notices that two machines hold one server's key (a copied disk, a snapshot started twice). An agent that was started
 * again never comes back as its former self, and an agent dials only after its connection ended. So two live where the
 * connected one still answers while another arrives, or where one comes back after another was in its place.
 */
export class CloneWatch {
  readonly #options: { store: Store; log: Logger }
  /** By server: runs of its agent, the present one last. */
  readonly #runs = new Map<string, string[]>()

  constructor(options: { store: Store; log: Logger }) {
    this.#options = options
  }

  /** Throws `agent.key_cloned`, and locks the server, if another machine than the one that arrives holds its key. */
  async check(server: Server, instance: string, links: ReadonlyMap<string, AgentLink>): Promise<void> {
    if (server.lockedAt !== null) throw cloned(server.name)
    for (let before: AgentLink | null = null; ;) {
      const present = links.get(server.id)
      if (!present?.open || present === before) break
      before = present
      if (await present.answers(patience)) return this.#lock(server)
    }
    const runs = this.#runs.get(server.id) ?? []
    if (runs.includes(instance) && runs.at(-1) !== instance) return this.#lock(server)
    if (runs.at(-1) !== instance) this.#runs.set(server.id, [...runs, instance].slice(-remembered))
  }

  /** Begins anew with a server, after a person decided. */
  forget(serverId: string): void {
    this.#runs.delete(serverId)
  }

  async #lock(server: Server): Promise<never> {
    await this.#options.store.servers.lock(server.id, Date.now())
    const error = cloned(server.name)
    this.#options.log.error({ server: server.name, code: error.code }, error.message)
    throw error
  }
}
