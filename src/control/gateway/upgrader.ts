import type { Logger } from 'pino'
import { DployError, reportOf } from '../../protocol/errors.ts'
import type { Store } from '../store/store.ts'
import type { AgentLink } from './agent-link.ts'

/** What an upgrade needs of a connection. */
export type UpgradeLink = Pick<AgentLink, 'server' | 'bundle' | 'open' | 'command'>

export interface UpgraderOptions {
  store: { servers: Pick<Store['servers'], 'memberships'>; locks: Pick<Store['locks'], 'holder'> }
  gateway: { readonly links: readonly UpgradeLink[] }
  /** The agent that belongs to this control plane. */
  bundle: () => Promise<{ content: Buffer; sha256: string }>
  /** How long a new version has to come back before the one before is put back. Seconds. */
  trialSeconds: number
  /** On top of the trial, until the version before has come back. Milliseconds; by default 15 s. */
  comeBack?: number
  log: Pick<Logger, 'info' | 'warn' | 'error'>
}

/** How often those are looked for that are to be upgraded. Milliseconds. */
const lookEvery = 2_000
const usualComeBack = 15_000
/** So many servers that are not heard of again say something of the version; one may have been switched off. */
const mostLost = 2
/** How many at a time, once the first has come back: a share of those that are connected. */
const share = 0.1

/** How many agents may be upgraded at the same time: one until the version came back somewhere, then a tenth of those that are connected, and at least one. */
export function atOnce(connected: number, proven: boolean): number {
  return proven ? Math.max(1, Math.floor(connected * share)) : 1
}

/**
 * Brings connected agents to the version of this control plane: one first, then a tenth of them at a time; never on a server whose
 * environment is locked by a deployment. A version that ran nowhere yet and whose first agent comes back with the version before is not
 * tried on another; nor is one with which two servers were not heard of again. What stands in the way on one server, which cannot be
 * reached or does not take it, keeps no other from being upgraded.
 */
export class Upgrader implements Disposable {
  readonly #options: UpgraderOptions
  /** Servers that are being upgraded, until when they have time. */
  readonly #under = new Map<string, { name: string; digest: string; until: number }>()
  /** The version that came back somewhere, and the one that did not. */
  #proven: string | null = null
  #failed: string | null = null
  /** Servers that did not get a version, and why; they are tried again when they connect, or by another control plane. */
  readonly #problems = new Map<string, { digest: string; problem: string; lost: boolean }>()
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

  /** Why the agent of a server is not upgraded; null: nothing is known to stand in the way. */
  problem(serverId: string): string | null {
    return this.#problems.get(serverId)?.problem ?? null
  }

  /** An agent has connected: one on trial is told that it may stay, or counts as failed. */
  arrived(link: UpgradeLink): void {
    void this.#judge(link).catch((error: unknown) =>
      this.#options.log.warn(
        { server: link.server.name, err: error },
        'the new agent could not be told that it may stay',
      ),
    )
  }

  /** Starts as many upgrades as may run now. */
  async look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      const { sha256, content } = await this.#options.bundle()
      for (const [id, { name, digest, until }] of this.#under) if (Date.now() > until) this.#isLost(id, name, digest)
      if (this.#failed === sha256) return
      const links = this.#options.gateway.links
      const most = atOnce(links.length, this.#proven === sha256)
      for (const link of links) {
        if (this.#under.size >= most) return
        if (
          link.bundle === null ||
          link.bundle.digest === sha256 ||
          this.#problems.get(link.server.id)?.digest === sha256 ||
          this.#under.has(link.server.id) ||
          (await this.#isBusy(link))
        )
          continue
        await this.#upgrade(link, content, sha256)
      }
    } catch (error) {
      this.#options.log.warn({ err: error }, 'agents could not be upgraded')
    } finally {
      this.#looking = false
    }
  }

  async #upgrade(link: UpgradeLink, content: Buffer, digest: string): Promise<void> {
    const { trialSeconds, log } = this.#options
    const { id, name } = link.server
    this.#under.set(id, {
      name,
      digest,
      until: Date.now() + trialSeconds * 1000 + (this.#options.comeBack ?? usualComeBack),
    })
    try {
      await link.command(
        'upgrade',
        { step: 'take', digest, trialSeconds },
        { ...nobody, body: content, signal: AbortSignal.timeout(30_000) },
      )
      log.info({ server: name, digest: digest.slice(0, 12) }, 'the agent is upgraded')
    } catch (error) {
      this.#under.delete(id)
      if (error instanceof DployError && error.code === 'agent.busy') return
      log.warn({ server: name, err: error }, 'the agent could not be upgraded; others are')
      this.#problems.set(id, {
        digest,
        problem: `it does not take the new version: ${reportOf(error).message}`,
        lost: false,
      })
    }
  }

  async #judge(link: UpgradeLink): Promise<void> {
    const under = this.#under.get(link.server.id)
    const { bundle } = link
    if (bundle?.trial === true) {
      await link.command(
        'upgrade',
        { step: 'keep', digest: bundle.digest, trialSeconds: 0 },
        { ...nobody, signal: AbortSignal.timeout(30_000) },
      )
      this.#options.log.info(
        { server: link.server.name, digest: bundle.digest.slice(0, 12) },
        'the agent came back with its new version',
      )
    }
    const before = this.#problems.get(link.server.id)
    if (before && (before.lost || before.digest === bundle?.digest)) this.#problems.delete(link.server.id)
    const tried = under?.digest ?? (before?.lost ? before.digest : null)
    if (tried === null) return
    this.#under.delete(link.server.id)
    if (bundle?.digest === tried) this.#isProven(tried)
    else this.#cameBackAsBefore(link.server.id, link.server.name, tried)
    void this.look()
  }

  #isProven(digest: string): void {
    this.#proven = digest
    if (this.#failed === digest) this.#failed = null
  }

  /** The version before was put back there. That it ran elsewhere already makes this a matter of that server. */
  #cameBackAsBefore(id: string, name: string, digest: string): void {
    this.#problems.set(id, {
      digest,
      problem: 'the new version did not come back there; it runs the version before',
      lost: false,
    })
    if (this.#proven !== digest) this.#failed = digest
    this.#options.log.error(
      { server: name, digest: digest.slice(0, 12) },
      `the new version of the agent did not come back there${this.#failed === digest ? '; no other agent gets it' : ''}`,
    )
  }

  /** Nothing was heard of it since: of one, nobody can say whether the version is to blame. */
  #isLost(id: string, name: string, digest: string): void {
    this.#under.delete(id)
    this.#problems.set(id, { digest, problem: 'it was not heard of again after it got the new version', lost: true })
    const lost = [...this.#problems.values()].filter((one) => one.lost && one.digest === digest).length
    if (this.#proven !== digest && lost >= mostLost) this.#failed = digest
    this.#options.log.error(
      { server: name, digest: digest.slice(0, 12) },
      `the agent was not heard of again after it got the new version${this.#failed === digest ? '; no other agent gets it' : ''}`,
    )
  }

  /** Whether a deployment holds the lock of an environment that the server is in. */
  async #isBusy(link: UpgradeLink): Promise<boolean> {
    for (const { environment } of await this.#options.store.servers.memberships(link.server.id)) {
      const lock = await this.#options.store.locks.holder(environment)
      if (lock !== null && lock.expires > Date.now()) return true
    }
    return false
  }
}

const nobody = { application: '', environment: '', epoch: 0 }
