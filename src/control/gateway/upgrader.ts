import type { Logger } from 'pino'
import { DployError } from '../../protocol/errors.ts'
import type { Store } from '../store/store.ts'
import type { AgentLink } from './agent-link.ts'
import type { Gateway } from './gateway.ts'

export interface UpgraderOptions {
  store: Store
  gateway: Gateway
  /** The agent that belongs to this control plane. */
  bundle: () => Promise<{ content: Buffer; sha256: string }>
  /** How long a new version has to come back before the one before is put back. Seconds. */
  trialSeconds: number
  log: Logger
}

/** How often those are looked for that are to be upgraded. Milliseconds. */
const lookEvery = 2_000
/** On top of the trial: until the version before has come back. Milliseconds. */
const comeBack = 15_000
/** How many at a time, once the first has come back: a share of those that are connected. */
const share = 0.1

/**
 * Brings connected agents to the version of this control plane: one first, then a tenth of them at a time; never on a server whose
 * environment is locked by a deployment. When one does not come back with the new version, no other is tried.
 */
export class Upgrader implements Disposable {
  readonly #options: UpgraderOptions
  /** Servers that are being upgraded, until when they have time. */
  readonly #under = new Map<string, { name: string; digest: string; until: number }>()
  /** The version that came back somewhere, and the one that did not. */
  #proven: string | null = null
  #failed: { digest: string; server: string } | null = null
  readonly #timer: NodeJS.Timeout
  #looking = false

  constructor(options: UpgraderOptions) {
    this.#options = options
    this.#timer = setInterval(() => void this.look(), lookEvery)
    this.#timer.unref()
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  /** An agent has connected: one on trial is told that it may stay, or counts as failed. */
  arrived(link: AgentLink): void {
    void this.#judge(link).catch((error: unknown) => this.#options.log.warn({ server: link.server.name, err: error }, 'the new agent could not be told that it may stay'))
  }

  /** Starts as many upgrades as may run now. */
  async look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      const { sha256, content } = await this.#options.bundle()
      for (const [id, { name, digest, until }] of this.#under) if (Date.now() > until) this.#fails(id, name, digest)
      if (this.#failed?.digest === sha256) return
      const links = this.#options.gateway.links
      const most = this.#proven === sha256 ? Math.max(1, Math.floor(links.length * share)) : 1
      for (const link of links) {
        if (this.#under.size >= most) return
        if (link.bundle === null || link.bundle.digest === sha256 || this.#under.has(link.server.id) || (await this.#isBusy(link))) continue
        await this.#upgrade(link, content, sha256)
      }
    } catch (error) {
      this.#options.log.warn({ err: error }, 'agents could not be upgraded')
    } finally {
      this.#looking = false
    }
  }

  async #upgrade(link: AgentLink, content: Buffer, digest: string): Promise<void> {
    const { trialSeconds, log } = this.#options
    const { id, name } = link.server
    this.#under.set(id, { name, digest, until: Date.now() + trialSeconds * 1000 + comeBack })
    try {
      await link.command('upgrade', { step: 'take', digest, trialSeconds }, { ...nobody, body: content, signal: AbortSignal.timeout(30_000) })
      log.info({ server: name, digest: digest.slice(0, 12) }, 'the agent is upgraded')
    } catch (error) {
      this.#under.delete(id)
      if (error instanceof DployError && error.code === 'agent.busy') return
      log.warn({ server: name, err: error }, 'the agent could not be upgraded')
      if (link.open) this.#fails(id, name, digest)
    }
  }

  async #judge(link: AgentLink): Promise<void> {
    const under = this.#under.get(link.server.id)
    const { bundle } = link
    if (bundle?.trial === true) {
      await link.command('upgrade', { step: 'keep', digest: bundle.digest, trialSeconds: 0 }, { ...nobody, signal: AbortSignal.timeout(30_000) })
      this.#options.log.info({ server: link.server.name, digest: bundle.digest.slice(0, 12) }, 'the agent came back with its new version')
    }
    if (!under) return
    this.#under.delete(link.server.id)
    if (bundle?.digest === under.digest) this.#proven = under.digest
    else this.#fails(link.server.id, under.name, under.digest)
    void this.look()
  }

  #fails(id: string, name: string, digest: string): void {
    this.#under.delete(id)
    this.#failed = { digest, server: name }
    this.#options.log.error({ server: name, digest: digest.slice(0, 12) }, 'the new version of the agent did not come back there; no other agent gets it')
  }

  /** Whether a deployment holds the lock of an environment that the server is in. */
  async #isBusy(link: AgentLink): Promise<boolean> {
    for (const { environment } of await this.#options.store.servers.memberships(link.server.id)) {
      const lock = await this.#options.store.locks.holder(environment)
      if (lock !== null && lock.expires > Date.now()) return true
    }
    return false
  }
}

const nobody = { application: '', environment: '', epoch: 0 }
