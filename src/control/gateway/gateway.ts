import { randomBytes, type KeyObject } from 'node:crypto'
import type { Duplex } from 'node:stream'
import type { Logger } from 'pino'
import type { WebSocket } from 'ws'
import type * as z from 'zod'
import { controlMethods, helloResult } from '../../protocol/agent-messages.ts'
import { DployError, reportOf } from '../../protocol/errors.ts'
import type { MachineFacts } from '../../protocol/machine.ts'
import { Peer, type Carrier, type CallContext } from '../../protocol/peer.ts'
import { socketCarrier } from '../../protocol/socket-carrier.ts'
import { protocolNumber, speaks } from '../../protocol/version.ts'
import type { Refusals } from '../refusals.ts'
import type { Store } from '../store/store.ts'
import { AgentLink } from './agent-link.ts'
import { CloneWatch } from './clone-watch.ts'
import { keepNewKey, provenKey } from './keys.ts'

/** How long an agent has to answer the hello. Milliseconds. */
const helloTimeout = 10_000
/** What may come on a connection before its hello is answered. Bytes. */
const unknownBytes = 64 * 1024
/** Calls of one agent that may be under way. A stage has one or two at a time, for each environment. */
const mostCalls = 256
/** Notes that one server may leave in the logs of deployments, and in what time. Milliseconds. */
const mostNotes = 100
const notesFor = 10 * 60_000

/** Where an agent's objects and manifests come from. */
export interface ObjectSource {
  /** Chunks of one zstd stream: a pack of these objects of an artifact. */
  pack(artifact: string, digests: string[], signal: AbortSignal): AsyncIterable<Uint8Array>
  /** The canonical text of a manifest, compressed with zstd. */
  manifest(digest: string): Promise<Uint8Array>
}

/** A server that ssh reached. */
export interface Introduced {
  id: string
  name: string
  /** What is read there with the hello. */
  look?: { application: string; environment: string; directory: string } | undefined
  /** Aborts when its agent does not answer. */
  patience?: AbortSignal | undefined
}

export interface GatewayOptions {
  store: Store
  key: { privateKey: KeyObject; publicKey: string }
  objects: ObjectSource
  refusals: Refusals
  log: Logger
}

/** Knows which agents are connected, proves who they are, serves what they ask for. */
export class Gateway {
  readonly #options: GatewayOptions
  readonly #links = new Map<string, AgentLink>()
  readonly #waiting = new Map<string, Set<(link: AgentLink) => void>>()
  /** Why servers could not be reached the last time it was tried. */
  readonly #problems = new Map<string, DployError>()
  readonly #clones: CloneWatch
  /** When each server left its last notes. */
  readonly #notes = new Map<string, number[]>()
  /** Called when a server has become a member of an environment. */
  onMember: (serverId: string) => void = () => {}
  /** Called when an agent has connected and is known. */
  onConnect: (link: AgentLink) => void = () => {}
  /** Called when an agent tells how its machine is. */
  onReport: (serverId: string, machine: MachineFacts) => void = () => {}

  constructor(options: GatewayOptions) {
    this.#options = options
    this.#clones = new CloneWatch(options)
  }

  /** How many agents are connected. */
  get connected(): number {
    return this.#links.size
  }

  /** The connected agent of a server; null if there is none. */
  link(serverId: string): AgentLink | null {
    return this.#links.get(serverId) ?? null
  }

  /** Every agent that is connected now. */
  get links(): AgentLink[] {
    return [...this.#links.values()].filter(({ open }) => open)
  }

  /** The connected agents of an environment's servers, or of those that are named, in the order of dploy.yml. */
  async linksOf(environmentId: string, only: readonly string[] | null): Promise<AgentLink[]> {
    const servers = await this.#options.store.applications.servers(environmentId)
    return servers
      .filter(({ name }) => only === null || only.includes(name))
      .flatMap(({ id }) => this.#links.get(id) ?? [])
      .filter(({ open }) => open)
  }

  /** Why there is no link to a server: what stood in the way, or that its agent does not dial in. */
  problem(server: { id: string; name: string }): DployError {
    return (
      this.#problems.get(server.id) ??
      new DployError('server.unreachable', 'Its agent is not connected', { where: server.name })
    )
  }

  /** Remembers what stood in the way of reaching a server. */
  failed(server: { id: string }, error: DployError): void {
    this.#problems.set(server.id, error)
  }

  /** Waits until the server's agent is connected. Throws `server.unreachable` after `timeout` milliseconds. */
  async reach(server: { id: string; name: string }, timeout: number, signal?: AbortSignal): Promise<AgentLink> {
    const present = this.#links.get(server.id)
    if (present?.open) return present
    signal?.throwIfAborted()
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(server.id) ?? new Set()
      this.#waiting.set(server.id, waiting)
      const done = (link: AgentLink | null) => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
        waiting.delete(done)
        if (link) resolve(link)
        else
          reject(
            signal?.aborted
              ? signal.reason
              : new DployError(
                  'server.unreachable',
                  `The agent of ${server.name} has not connected within ${timeout} ms`,
                  { where: server.name },
                ),
          )
      }
      const abort = () => done(null)
      const timer = setTimeout(abort, timeout)
      signal?.addEventListener('abort', abort, { once: true })
      waiting.add(done)
    })
  }

  /**
   * Takes over a WebSocket on which an agent is expected. `raw` carries it: until it is known who is there, no more is taken
   * in than a hello, or many strangers with a large message each would fill the memory.
   */
  accept(socket: WebSocket, remote: string, raw: Duplex & { bytesRead?: number }): void {
    const before = raw.bytesRead ?? 0
    const limit = () => {
      if ((raw.bytesRead ?? 0) - before > unknownBytes) raw.destroy()
    }
    raw.on('data', limit)
    void this.welcome(socketCarrier(socket), remote)
      .finally(() => raw.off('data', limit))
      .catch((error: unknown) => {
        this.#options.refusals.note('an agent was refused', { remote, code: reportOf(error).code, err: error })
        socket.close(1008, error instanceof Error ? error.message.slice(0, 100) : 'refused')
      })
  }

  /**
   * Says hello on a connection, checks who answers, and from then on counts the server as connected. `introduced`: the
   * server that ssh reached. There ssh's host key says which machine it is, and the agent is told whom it stands for.
   */
  async welcome(carrier: Carrier, remote: string, introduced?: Introduced): Promise<AgentLink> {
    let server: { id: string; name: string } | null = null
    const known =
      (handler: (params: unknown, context: CallContext, serverId: string) => Promise<unknown>) =>
      (params: unknown, context: CallContext) => {
        const { refusals } = this.#options
        if (!server) {
          refusals.note('an agent that had not said hello was refused', { remote })
          throw new DployError('unauthorized', 'Say hello first')
        }
        const { id, name } = server
        return handler(params, context, id).catch((error: unknown) => {
          if (error instanceof DployError && !context.signal.aborted)
            refusals.note('an agent was refused what it asked for', {
              server: name,
              remote,
              code: error.code,
              reason: error.message,
            })
          throw error
        })
      }
    const peer = new Peer(
      carrier,
      {
        objects: known((params, context, id) => this.#sendObjects(params, context, id)),
        manifest: known((params, context, id) => this.#sendManifest(params, context, id)),
        note: known((params, _context, id) => this.#takeNote(params, id)),
        report: known(async (params, _, id) => (this.onReport(id, parsed(controlMethods.report.params, params)), {})),
      },
      mostCalls,
    )
    const nonce = randomBytes(24).toString('base64')
    const asked = performance.now()
    const introduction = introduced && {
      server: introduced.id,
      name: introduced.name,
      controlKey: this.#options.key.publicKey,
      look: introduced.look,
    }
    const hello = parsed(
      helloResult,
      await peer.call(
        'hello',
        { protocol: protocolNumber, nonce, introduction },
        { signal: introduced?.patience ?? AbortSignal.timeout(helloTimeout) },
      ),
    )
    // Through ssh the agent was not there yet when it was asked; its round trip is measured later.
    const roundTrip = introduced ? 0 : performance.now() - asked
    if (!speaks(hello.protocol)) {
      throw new DployError(
        'protocol.mismatch',
        `The agent at ${remote} speaks protocol ${hello.protocol}, this control plane ${protocolNumber}`,
      )
    }
    const found = await this.#options.store.servers.find(hello.server)
    const key = found && provenKey(found, hello, nonce)
    const proven = introduced ? hello.server === introduced.id : key
    if (!found || !proven) {
      peer.close('not known here')
      throw new DployError(
        'unauthorized',
        `The agent at ${remote} does not hold the key of a server that is known here`,
      )
    }
    server = { id: found.id, name: found.name }
    const facts = {
      version: hello.version,
      platform: hello.platform,
      clockSkew: hello.clock - (Date.now() - roundTrip / 2),
      roundTrip,
      instance: hello.instance,
      instanceId: hello.instanceId,
    }
    this.#problems.delete(found.id)
    const link = new AgentLink(server, peer, this.#options.key.privateKey, facts)
    try {
      if (!introduced) await this.#clones.check(found, hello.instance, this.#links)
    } catch (error) {
      this.#links.get(found.id)?.close((error as Error).message)
      throw error
    }
    link.held = hello.held ?? null
    link.looked =
      hello.held?.lock === null && hello.observed
        ? {
            at: performance.now(),
            epoch: hello.held.epoch,
            writtenAt: hello.held.record?.writtenAt ?? null,
            observation: hello.observed,
          }
        : null
    link.bundle = hello.bundle ?? null
    this.#links.get(found.id)?.close('the agent has connected again')
    this.#links.set(found.id, link)
    void peer.closed.then((reason) => {
      if (this.#links.get(found.id) === link) this.#links.delete(found.id)
      this.#options.log.info({ server: found.name, reason }, 'agent gone')
      void this.#options.store.servers.gone(found.id, Date.now()).catch(() => {})
    })
    if (key && key !== found.publicKey) await this.#options.store.servers.takeKey(found.id, key)
    if (key && hello.nextSignature)
      void keepNewKey(link).catch((error: unknown) =>
        this.#options.log.warn({ server: found.name, err: error }, 'the agent keeps its old key for now'),
      )
    await this.#options.store.servers.seen(found.id, facts, Date.now())
    this.#options.log.info({ server: found.name, remote }, 'agent connected')
    for (const resolve of [...(this.#waiting.get(found.id) ?? [])]) resolve(link)
    this.onConnect(link)
    return link
  }

  /** A person decided which machine is the server: whoever holds its key is let in again. */
  forgive(serverId: string): void {
    this.#clones.forget(serverId)
  }

  /** Ends all connections. */
  close(): void {
    for (const link of this.#links.values()) link.close('the control plane stops')
  }

  async #sendObjects(params: unknown, context: CallContext, serverId: string): Promise<unknown> {
    const { release, digests } = parsed(controlMethods.objects.params, params)
    const { spec } = await this.#mayHave(release, serverId)
    let bytes = 0
    for await (const chunk of this.#options.objects.pack(spec.artifact, digests, context.signal)) {
      context.signal.throwIfAborted()
      bytes += chunk.length
      await context.emit({}, chunk)
    }
    return { bytes }
  }

  async #sendManifest(params: unknown, context: CallContext, serverId: string): Promise<unknown> {
    const { release, artifact } = parsed(controlMethods.manifest.params, params)
    const found = await this.#mayHave(release, serverId)
    if (found.spec.artifact !== artifact)
      throw new DployError('not_found', `The release ${found.number} does not consist of artifact ${artifact}`)
    const text = await this.#options.objects.manifest(artifact)
    for (let start = 0; start < text.length; start += 256 * 1024)
      await context.emit({}, text.subarray(start, start + 256 * 1024))
    return {}
  }

  /** It stands in the log of the environment's last deployment: what is cut when a release ends that was kept warm is of its doing. */
  async #takeNote(params: unknown, serverId: string): Promise<unknown> {
    const { application, environment, text } = parsed(controlMethods.note.params, params)
    const { store, log } = this.#options
    const now = Date.now()
    const notes = (this.#notes.get(serverId) ?? []).filter((at) => now - at < notesFor)
    if (notes.length >= mostNotes)
      throw new DployError(
        'protocol.invalid',
        `More than ${mostNotes} notes came from this server within ${notesFor / 60_000} minutes`,
      )
    this.#notes.set(serverId, [...notes, now])
    const found = (await store.applications.environmentsOf(serverId)).find(
      (one) => one.application === application && one.name === environment,
    )
    if (!found) throw new DployError('environment.unknown', 'There is no such environment of this server')
    log.info({ server: serverId, application, environment }, text)
    const [last] = await store.deployments.list({ environmentId: found.id, limit: 1 })
    if (last) store.events.add(last.id, serverId, { kind: 'note', text }, Date.now())
    return {}
  }

  async #mayHave(releaseId: string, serverId: string) {
    const release = await this.#options.store.releases.isOnServer(releaseId, serverId)
    if (!release) throw new DployError('release.unknown', 'There is no such release for this server')
    return release
  }
}

/** Throws `protocol.invalid`, naming the first field that is wrong. */
function parsed<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const { success, data, error } = schema.safeParse(value)
  if (success) return data
  const issue = error.issues[0]!
  throw new DployError('protocol.invalid', `What the agent sent is not valid: ${issue.path.join('.')} ${issue.message}`)
}
