import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { ServiceState } from '../protocol/agent-messages.ts'
import type { ServiceSpec } from '../protocol/release-spec.ts'
import { Handover } from './handover/handover.ts'
import { StateFile } from './handover/state.ts'
import type { ServiceManager, ServicePlace } from './services/contract.ts'
import { openManager, startsWhenSeen, type ManagerOptions } from './services/registry.ts'
import { systemdIsHere } from './services/systemd.ts'

/** By what it is seen that a manager has releases of a service: files of its own beside what it keeps. */
const traces = [
  { kind: 'systemd', files: ['units', 'runs'] },
  { kind: 'process', files: ['keeper.json'] },
] as const

/** What keeps a service's processes. */
export interface Kept {
  kind: string
  manager: ServiceManager
  /** Null: the manager cannot keep releases beside each other. */
  handover: Handover | null
  /** Whether something of it goes on in this process, and is to end with it: a connection to its process keeper, a release that waits for its end. */
  isBound(): boolean
}

export interface KeptServicesOptions {
  stateDirectory: string
  /** Release directories are taken below this one. */
  root: string
  keeper: ManagerOptions['keeper']
  /** Absolute path of an application's directory. */
  directoryOf(directory: string): string
  log(text: string): void
  /** Tells the control plane what nobody who listens was told. */
  tell(place: { application: string; environment: string }, text: string): void
}

/** The services of this server: one manager each, opened when it is first asked for. */
export class KeptServices {
  readonly #options: KeptServicesOptions
  readonly #open = new Map<string, Kept>()

  constructor(options: KeptServicesOptions) {
    this.#options = options
  }

  of(spec: { application: string; environment: string; directory: string }, kind: ServiceSpec['manager']): Kept {
    const { root, keeper } = this.#options
    const key = `${spec.application}/${spec.environment}`
    const open = this.#open.get(key)
    if (open?.kind === kind) return open
    const place = this.#place(spec)
    const manager = openManager(kind, place, { keeper, ownsMachine: root === '/' })
    const log = (text: string) => this.#options.log(`${key}: ${text}`)
    const { beside } = manager
    const handover =
      beside &&
      new Handover({
        ...place,
        beside,
        stopService: () => manager.stop(),
        note: (text, heard) => (log(text), heard || this.#options.tell(spec, text)),
      })
    const kept = {
      kind,
      manager,
      handover,
      isBound: () =>
        manager.kind === 'process' || (handover !== null && new StateFile(place.stateDirectory).read() !== null),
    }
    this.#open.set(key, kept)
    void manager
      .ensure()
      .then(() => handover?.resume())
      .catch((error: unknown) => log((error as Error).message))
    return kept
  }

  /** Managers of other kinds that have kept, or still keep, releases of this service: what `service.manager` was before. */
  formerOf(spec: { application: string; environment: string; directory: string }, kind: ServiceManager['kind'] | null) {
    const place = this.#place(spec)
    const { root, keeper } = this.#options
    return traces
      .filter(
        ({ kind: one, files }) => one !== kind && files.some((file) => existsSync(join(place.stateDirectory, file))),
      )
      .filter(({ kind: one }) => one !== 'systemd' || (root === '/' && systemdIsHere()))
      .map((trace) => openManager(trace.kind, place, { keeper, ownsMachine: root === '/' }))
  }

  #place(spec: { application: string; environment: string; directory: string }): ServicePlace {
    return {
      application: spec.application,
      environment: spec.environment,
      directory: this.#options.directoryOf(spec.directory),
      stateDirectory: join(this.#options.stateDirectory, 'services', `${spec.application}-${spec.environment}`),
    }
  }

  /** Whether a service can be looked at without anything being started by that. */
  mayLook(kind: ServiceSpec['manager']): boolean {
    return !startsWhenSeen(kind, { ownsMachine: this.#options.root === '/' })
  }

  /** Whether something of them goes on in this process, and is to end with it. */
  get isBound(): boolean {
    return [...this.#open.values()].some((kept) => kept.isBound())
  }

  /** Ends every service that this agent's process keepers keep. */
  async stopAll(): Promise<void> {
    await Promise.allSettled([...this.#open.values()].map(({ manager }) => manager.stop()))
  }
}

/** What a service does, and what runs beside it. */
export async function observeService({ manager, handover }: Kept): Promise<ServiceState> {
  const service = await manager.observe()
  return handover ? handover.describe(service) : service
}
