import { DployError, reportOf } from '../../protocol/errors.ts'
import type { Ssh } from '../../ssh/ssh.ts'
import type { Reach } from '../deploy/run.ts'
import type { Environment } from '../store/applications.ts'
import type { Store } from '../store/store.ts'
import type { AgentLink } from './agent-link.ts'
import type { Gateway } from './gateway.ts'

/** Reaches servers by starting their agents through ssh, each once for as long as this lives. */
export class SshReach implements Reach, Disposable {
  readonly #options: { ssh: Ssh; store: Store; gateway: Gateway }
  readonly #dials = new Map<string, Promise<AgentLink>>()
  readonly #stop = new AbortController()

  constructor(options: { ssh: Ssh; store: Store; gateway: Gateway }) {
    this.#options = options
  }

  /** The connections to all servers of an environment, made where there are none. One that cannot be reached is remembered with its reason. */
  async links(environment: Environment, signal: AbortSignal): Promise<AgentLink[]> {
    const servers = await this.#options.store.applications.servers(environment.id)
    const links = await Promise.allSettled(servers.map((server) => this.#link(server, signal)))
    return links.flatMap((link) => (link.status === 'fulfilled' ? [link.value] : []))
  }

  /** The open connection to a server, or a new one. Throws why it cannot be reached, of this try or of one just made. */
  async reach(server: { id: string; name: string }, _timeout: number, signal?: AbortSignal): Promise<AgentLink> {
    const address = (await this.#options.store.applications.addressOf(server.id)) ?? null
    return this.#link({ ...server, address }, signal)
  }

  [Symbol.dispose](): void {
    this.#stop.abort(new DployError('connection.closed', 'The control plane stops'))
  }

  async #link(server: { id: string; name: string; address: string | null }, signal?: AbortSignal): Promise<AgentLink> {
    const present = this.#options.gateway.link(server.id)
    if (present?.open) return present
    let dial = this.#dials.get(server.id)
    if (!dial) {
      dial = this.#dial(server).finally(() => this.#dials.delete(server.id))
      this.#dials.set(server.id, dial)
    }
    signal?.throwIfAborted()
    return dial
  }

  async #dial(server: { id: string; name: string; address: string | null }): Promise<AgentLink> {
    const { ssh, gateway } = this.#options
    try {
      const agent = await ssh.start(server, this.#stop.signal)
      return await gateway.welcome(agent.carrier, `ssh ${server.address ?? server.name}`, server)
    } catch (error) {
      const failure = error instanceof DployError ? error : DployError.from(reportOf(error, server.name))
      gateway.failed(server, failure)
      throw failure
    }
  }
}
