import { setTimeout as delay } from 'node:timers/promises'
import { releaseDirectory } from '../../protocol/config/config.ts'
import { DployError, reportOf } from '../../protocol/errors.ts'
import type { Ssh } from '../../ssh/ssh.ts'
import type { Reach } from '../deploy/run/run.ts'
import type { Environment } from '../store/applications.ts'
import type { Store } from '../store/store.ts'
import type { AgentLink } from './agent-link.ts'
import type { Gateway, Introduced } from './gateway.ts'

/** A server that was never reached is not tried again for so long: one command asks for it several times. Milliseconds. */
const believed = 10_000
/** How long an agent that was started has to answer. Milliseconds. */
const helloTimeout = 10_000
/** How long to wait before one that was reached is tried again. Milliseconds. */
const retryAfter = 1_000

/** An environment that a command is about, and its servers as dploy.yml has them. */
export interface Expected {
  application: string
  environment: string
  servers: readonly { name: string; address: string | null }[]
}

/** Reaches servers by starting their agents through ssh, each once for as long as this lives. */
export class SshReach implements Reach, Disposable {
  readonly #options: { ssh: Ssh; store: Store; gateway: Gateway }
  readonly #dials = new Map<string, Promise<AgentLink>>()
  readonly #failed = new Map<string, { at: number; error: DployError }>()
  readonly #reached = new Set<string>()
  /** The directory that each was asked about when it was connected. */
  readonly #looked = new Map<string, string>()
  readonly #stop = new AbortController()

  constructor(options: { ssh: Ssh; store: Store; gateway: Gateway }) {
    this.#options = options
  }

  /** The connections to all servers of an environment, or to those that are named, made where there are none. One that cannot be reached is remembered with its reason. */
  async links(
    environment: Environment,
    signal: AbortSignal,
    only: readonly string[] | null = null,
  ): Promise<AgentLink[]> {
    const servers = (await this.#options.store.applications.servers(environment.id)).filter(
      ({ name }) => only === null || only.includes(name),
    )
    const look = {
      application: environment.application,
      environment: environment.name,
      directory: releaseDirectory(environment.config, environment.name),
    }
    const links = await Promise.allSettled(
      servers.map(async (server) => {
        this.#believeFailure(server)
        return this.#link(server, signal, look)
      }),
    )
    return links.flatMap((link) => {
      if (link.status === 'rejected') return []
      // It was connected before dploy.yml said another one.
      if (this.#looked.get(link.value.server.id) !== look.directory) link.value.held = link.value.looked = null
      return [link.value]
    })
  }

  /** Says hello to servers that an environment will be asked for in a moment, as far as both are known here already. */
  async ahead({ application, environment: name, servers }: Expected): Promise<void> {
    const { applications } = this.#options.store
    const id = await applications.environmentId(application, name)
    if (id === null) return
    const [{ config }, known] = await Promise.all([applications.environmentById(id), applications.servers(id)])
    const look = { application, environment: name, directory: releaseDirectory(config, name) }
    for (const server of known) {
      // What stands in the way is told to whoever asks for it.
      if (servers.some((one) => one.name === server.name && one.address === server.address))
        this.#link(server, undefined, look).catch(() => {})
    }
  }

  /** The open connection to a server, or a new one. Throws why it cannot be reached, of this try or of one just made. */
  async reach(server: { id: string; name: string }, timeout: number, signal?: AbortSignal): Promise<AgentLink> {
    this.#believeFailure(server)
    const address = await this.#options.store.applications.addressOf(server.id)
    const deadline = Date.now() + timeout
    for (;;) {
      try {
        return await this.#link({ ...server, address }, signal)
      } catch (error) {
        // One that was there a moment ago may come back: rebooted, or its network.
        const passing = error instanceof DployError && /^ssh\.(no_route|refused|closed_early|failed)$/.test(error.code)
        if (!this.#reached.has(server.id) || !passing || Date.now() + retryAfter > deadline) throw error
      }
      await delay(retryAfter, undefined, { signal })
    }
  }

  [Symbol.dispose](): void {
    this.#stop.abort(new DployError('connection.closed', 'The control plane stops'))
  }

  /** Throws why a server could not be reached a moment ago. */
  #believeFailure({ id }: { id: string }): void {
    const failed = this.#failed.get(id)
    if (failed && Date.now() - failed.at < believed) throw failed.error
  }

  async #link(
    server: { id: string; name: string; address: string | null },
    signal?: AbortSignal,
    look?: Introduced['look'],
  ): Promise<AgentLink> {
    const present = this.#options.gateway.link(server.id)
    if (present?.open) return present
    let dial = this.#dials.get(server.id)
    if (!dial) {
      dial = this.#dial(server, look).finally(() => this.#dials.delete(server.id))
      this.#dials.set(server.id, dial)
    }
    signal?.throwIfAborted()
    return dial
  }

  async #dial(
    server: { id: string; name: string; address: string | null },
    look: Introduced['look'],
  ): Promise<AgentLink> {
    const { ssh, gateway } = this.#options
    if (look) this.#looked.set(server.id, look.directory)
    try {
      const { carrier, agent } = ssh.connect(server, this.#stop.signal)
      const patience = new AbortController()
      agent.then(
        () =>
          void setTimeout(
            () => patience.abort(new DployError('connection.closed', 'Its agent does not answer')),
            helloTimeout,
          ).unref(),
        () => {},
      )
      const welcome = gateway.welcome(carrier, `ssh ${server.address ?? server.name}`, {
        ...server,
        look,
        patience: patience.signal,
      })
      // Why ssh ended says more than that it did.
      const [link] = await Promise.all([welcome, agent]).catch(async (error: unknown) =>
        Promise.reject(
          await agent.then(
            () => error,
            (why: unknown) => why,
          ),
        ),
      )
      this.#reached.add(server.id)
      this.#failed.delete(server.id)
      return link
    } catch (error) {
      const failure = error instanceof DployError ? error : DployError.from(reportOf(error, server.name))
      gateway.failed(server, failure)
      if (!this.#reached.has(server.id)) this.#failed.set(server.id, { at: Date.now(), error: failure })
      throw failure
    }
  }
}
