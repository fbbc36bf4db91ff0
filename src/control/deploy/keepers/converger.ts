import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { releaseDirectory } from '../../../protocol/config/config.ts'
import type { StepState } from '../../../protocol/deployment.ts'
import { DployError, reportOf } from '../../../protocol/errors.ts'
import type { Gateway } from '../../gateway/gateway.ts'
import type { Store } from '../../store/store.ts'
import type { SharedLocks } from '../lock/shared-lock.ts'
import type { Deployer } from '../run/deployer.ts'
import { driftOf } from '../plan/drift.ts'
import { isIdle } from '../strategies/groups.ts'

/** Servers that connect within this time converge together. Milliseconds. */
const gather = 500
/** A server whose converging failed is left alone this long, or until it connects again. Milliseconds. */
const patience = 60_000
/** How long a server that connects has to say what it knows of its environments. Milliseconds. */
const lookTimeout = 10_000
/** How long after a deployment servers clean up: who watched it sees its end first, and one that goes back at once does not wait for it. Milliseconds. */
const rest = 500

/** In these states a server is out of traffic, or may be. */
const inTheMiddle: ReadonlySet<StepState> = new Set<StepState>(['draining', 'activating', 'registering', 'reverting'])

/**
 * Brings servers that do not run what their environment wants to it: those that connect (new, rebooted, cut off during
 * a deployment), and all connected ones after a deployment.
 */
export class Converger implements Disposable {
  readonly #options: {
    store: Store
    gateway: Gateway
    deployer: Deployer
    shared: SharedLocks
    log: Logger
    stays: boolean
  }
  readonly #ending = new AbortController()
  readonly #timers = new Map<string, NodeJS.Timeout>()
  readonly #cleaning = new Set<Promise<void>>()
  readonly #failed = new Map<string, number>()
  /** Servers that a deployment left in the middle of their switch, by environment: they may run what is wanted and be out of traffic. */
  readonly #cut = new Map<string, Set<string>>()

  /** `stays`: this process does not end with the command that a person has given. */
  constructor(options: {
    store: Store
    gateway: Gateway
    deployer: Deployer
    shared: SharedLocks
    log: Logger
    stays: boolean
  }) {
    this.#options = options
  }

  /** A server has connected. */
  look(serverId: string): void {
    this.#failed.delete(serverId)
    void this.#lookAll(serverId).catch((error: unknown) =>
      this.#options.log.error({ err: error }, 'looking at a server failed'),
    )
  }

  /** A person asks for it: looks at all servers now, also at those that it failed at just before. Answers the deployment that brings them; null: all run what they should. Throws `environment.locked`. */
  async now(environmentId: string, requestedBy: string): Promise<string | null> {
    const { store, deployer } = this.#options
    await store.sharedRecords.looked(environmentId)
    const environment = await store.applications.environmentById(environmentId)
    if (environment.wantedRelease === null) return null
    for (const { id } of await store.applications.servers(environmentId)) this.#failed.delete(id)
    const wanted = await store.releases.get(environment.wantedRelease)
    const drifted = await this.#drifted(environmentId, wanted.number)
    if (drifted.length === 0) return null
    const id = await deployer.submit({
      environment,
      kind: 'converge',
      request: { revision: null, artifact: null, release: wanted.id, servers: drifted.map(({ name }) => name) },
      requestedBy,
      wait: false,
    })
    void deployer.done(id)?.then((state) => {
      if (state !== 'succeeded') for (const server of drifted) this.#failed.set(server.id, Date.now())
    })
    return id
  }

  /** A deployment is over: cleans up on its servers, and brings those that it left out. */
  after(deploymentId: string): void {
    const task = this.#after(deploymentId)
      .catch((error: unknown) => this.#options.log.warn({ err: error }, 'cleaning up after a deployment failed'))
      .finally(() => this.#cleaning.delete(task))
    this.#cleaning.add(task)
  }

  /** Resolves once what is to be cleaned up has been told to the servers, which is told now. */
  async settled(): Promise<void> {
    this.#ending.abort()
    await Promise.all(this.#cleaning)
  }

  [Symbol.dispose](): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
  }

  async #lookAll(serverId: string): Promise<void> {
    const { store, gateway, shared, log } = this.#options
    const link = gateway.link(serverId)
    for (const environment of await store.applications.environmentsOf(serverId)) {
      // What it knows and is not known here comes first: it may be ahead.
      const silent = link && (await shared.lookOn(environment, [link], AbortSignal.timeout(lookTimeout)))
      if (silent?.length === 0) this.#soon(environment.id)
      else log.warn({ server: serverId }, 'it did not say what it knows, and is left as it is until it connects again')
    }
  }

  #soon(environmentId: string): void {
    if (this.#timers.has(environmentId)) return
    const timer = setTimeout(() => {
      this.#timers.delete(environmentId)
      void this.#converge(environmentId).catch((error: unknown) =>
        this.#options.log.warn({ err: error }, 'converging failed'),
      )
    }, gather)
    timer.unref()
    this.#timers.set(environmentId, timer)
  }

  async #converge(environmentId: string): Promise<void> {
    const { store, deployer, log } = this.#options
    const environment = await store.applications.environmentById(environmentId)
    if (environment.wantedRelease === null || environment.takenOver !== null) return
    // While a deployment is under way it decides; it asks for a look again at its end.
    if ((await store.deployments.unfinished(environmentId)).length > 0) return
    const wanted = await store.releases.get(environment.wantedRelease)
    const drifted = await this.#drifted(environmentId, wanted.number)
    if (drifted.length === 0) return
    const cut = this.#cut.get(environmentId)
    log.info(
      {
        environment: `${environment.application}/${environment.name}`,
        servers: drifted.map(({ name }) => name),
        release: wanted.number,
      },
      'converging',
    )
    try {
      const id = await deployer.submit({
        environment,
        kind: 'converge',
        request: { revision: null, artifact: null, release: wanted.id, servers: drifted.map(({ name }) => name) },
        requestedBy: 'dploy (converge)',
        wait: false,
      })
      for (const { name } of drifted) cut?.delete(name)
      if ((await deployer.done(id)) !== 'succeeded')
        for (const server of drifted) this.#failed.set(server.id, Date.now())
    } catch (error) {
      if (!(error instanceof DployError && error.code === 'environment.locked')) throw error
    }
  }

  async #drifted(environmentId: string, wanted: number): Promise<{ id: string; name: string }[]> {
    const { store, gateway } = this.#options
    const environment = await store.applications.environmentById(environmentId)
    const place = {
      application: environment.application,
      environment: environment.name,
      directory: releaseDirectory(environment.config, environment.name),
    }
    const config = environment.config.environments[environment.name]
    // Those of the group that does not serve keep the release before.
    const servers = (await store.applications.servers(environmentId)).filter(
      (server) => !isIdle(server, config, environment.liveGroup),
    )
    const answers = await Promise.all(
      servers.map(async (server) => {
        const link = gateway.link(server.id)
        if (!link || Date.now() - (this.#failed.get(server.id) ?? 0) < patience) return null
        try {
          const seen = await link.command('observe', place, {
            application: place.application,
            environment: place.environment,
            epoch: 0,
            signal: AbortSignal.timeout(5_000),
          })
          const sighting = { seenAt: Date.now(), release: seen.current, service: seen.service }
          await store.sightings.add(environmentId, server.id, sighting)
          return driftOf(sighting, wanted) === null && !this.#cut.get(environmentId)?.has(server.name) ? null : server
        } catch (error) {
          this.#options.log.warn({ server: server.name, error: reportOf(error) }, 'cannot be observed')
          return null
        }
      }),
    )
    return answers.filter((server) => server !== null)
  }

  /** Old releases and objects go when nobody waits for anything any more. */
  async #after(deploymentId: string): Promise<void> {
    const { store, gateway } = this.#options
    const row = await store.deployments.get(deploymentId)
    const environment = await store.applications.environmentById(row.environmentId)
    if (row.state === 'failed') {
      const cut = this.#cut.get(environment.id) ?? new Set()
      for (const { server, state } of await store.deployments.steps(deploymentId))
        if (inTheMiddle.has(state)) cut.add(server)
      this.#cut.set(environment.id, cut)
    }
    // Whoever deployed has looked.
    if (row.state === 'succeeded' && row.kind !== 'converge') await store.sharedRecords.looked(environment.id)
    this.#soon(environment.id)
    if (row.state !== 'succeeded') return
    if (this.#options.stays) await delay(rest, undefined, { signal: this.#ending.signal }).catch(() => {})
    // Another one has begun: it is cleaned up after that.
    if ((await store.deployments.unfinished(environment.id)).length > 0) return
    const place = {
      application: environment.application,
      environment: environment.name,
      directory: releaseDirectory(row.config, environment.name),
    }
    const protect = [row.releaseId, row.fromReleaseId].filter((id) => id !== null)
    const numbers = await Promise.all(protect.map(async (id) => (await store.releases.get(id)).number))
    for (const server of await store.applications.servers(environment.id)) {
      const link = gateway.link(server.id)
      void link
        ?.command(
          'collect',
          { ...place, keep: row.config.release.keep, protect: numbers },
          {
            application: place.application,
            environment: place.environment,
            epoch: row.fence,
            signal: AbortSignal.timeout(60_000),
          },
        )
        .catch((error: unknown) =>
          this.#options.log.info({ server: server.name, error: reportOf(error) }, 'not collected'),
        )
    }
  }
}
