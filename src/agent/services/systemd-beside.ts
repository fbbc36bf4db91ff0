import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { userIds } from '../user.ts'
import { listensOn } from './connections.ts'
import type { Beside, ListenAddress, ServicePlace, ServiceRelease, ServiceRun } from './contract.ts'
import { startServices, systemctl, unitDirectory } from './systemctl.ts'
import { environmentText, idleText, socketText, unitText } from './systemd-unit.ts'

/** What of the manager the runs beside each other need. */
export interface UnitsOfService {
  /** Units of what serves. */
  serving(): string[]
  setServing(units: readonly string[]): void
  /** The main process of each unit; 0: it has none. */
  pidsOf(units: readonly string[]): Promise<ReadonlyMap<string, number>>
  exited(units: readonly string[], signal: AbortSignal): Promise<never>
}

/**
 * Releases beside each other under systemd: a unit file for each instance of each run, so that every release ends by
 * its own definition, and a socket unit for each address. What serves is started at boot by links that are made and
 * removed here, because `systemctl enable` loads all units anew, which a switch has no time for.
 */
export class SystemdBeside implements Beside {
  readonly #place: ServicePlace
  readonly #name: string
  readonly #units: UnitsOfService
  /** Texts of units that systemd has read, as far as this process knows. */
  readonly #loaded = new Map<string, string>()

  /** `name`: what all units of the service begin with. A colon follows, which no application's name has. */
  constructor(place: ServicePlace, name: string, units: UnitsOfService) {
    this.#place = place
    this.#name = name
    this.#units = units
  }

  async start(run: string, release: ServiceRelease, sockets: readonly ListenAddress[]): Promise<void> {
    await this.prepare(run, release, sockets)
    const units = this.#listed(run, 'units')
    const all = [...this.#listed(run, 'sockets'), ...units]
    if (!all.every((unit) => this.#loaded.get(unit) === readIfThere(join(unitDirectory, unit)))) await this.#load()
    // One that is open is not named: its start would wait for the end of every release that accepts on it.
    const open = await Promise.all(sockets.map((address) => this.holds(address)))
    const closed = sockets.filter((_, index) => !open[index]).map((address) => this.#socketUnit(address))
    try {
      await startServices('start', units, closed)
    } catch (error) {
      await this.end(run).catch(() => {})
      if (release.service.user !== undefined) userIds(release.service.user)
      throw error
    }
  }

  /** Writes what a run needs, so that it is loaded with what is started next: loading all units is slow. */
  async prepare(run: string, release: ServiceRelease, sockets: readonly ListenAddress[]): Promise<void> {
    const { application, environment } = this.#place
    const { service, ports, path, env } = release
    const directory = this.#directory(run)
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const socketUnits = sockets.map((address) => this.#writeSocket(address))
    const units = Array.from({ length: service.instances }, (_, index) => {
      const environmentFile = join(directory, `environment-${index + 1}`)
      const port: Record<string, string> = ports[index] === undefined ? {} : { PORT: String(ports[index]) }
      writeFileSync(environmentFile, environmentText({ ...env, ...port }), { mode: 0o600 })
      const unit = `${this.#name}:${run}-${index + 1}.service`
      writeIfChanged(
        join(unitDirectory, unit),
        unitText({
          application,
          environment,
          service,
          directory: path,
          environmentFile,
          instanceFiles: null,
          sockets: socketUnits,
          logField: this.logField,
        }),
      )
      return unit
    })
    writeFileSync(join(directory, 'sockets'), socketUnits.join('\n'))
    writeFileSync(join(directory, 'units'), units.join('\n'))
  }

  async #load(): Promise<void> {
    const units = this.#names().flatMap((name) => [...this.#listed(name, 'units'), ...this.#listed(name, 'sockets')])
    const texts = units.map((unit) => [unit, readIfThere(join(unitDirectory, unit))] as const)
    await systemctl(this.#name, 'daemon-reload')
    for (const [unit, text] of texts) this.#loaded.set(unit, text)
  }

  /** By which journalctl finds what all runs print, one that is started while somebody follows among them. */
  get logField(): string {
    return `DPLOY_SERVICE=${this.#name}`
  }

  get isUsed(): boolean {
    return this.#names().length > 0
  }

  async serve(run: string): Promise<void> {
    const units = this.#listed(run, 'units')
    for (const unit of units) link(unit, 'multi-user.target')
    for (const unit of this.#listed(run, 'sockets')) link(unit, 'sockets.target')
    for (const unit of this.#units.serving())
      if (!units.includes(unit)) rmSync(wantsLink(unit, 'multi-user.target'), { force: true })
    this.#units.setServing(units)
  }

  async end(run: string): Promise<{ killed: boolean }> {
    const units = this.#listed(run, 'units')
    if (units.length === 0) return { killed: false }
    const timeout = stopTimeoutOf(units[0])
    const since = Date.now()
    await systemctl(units[0]!, 'stop', ...units)
    const killed = Date.now() - since >= timeout
    const serving = this.#units.serving()
    if (units.some((unit) => serving.includes(unit))) this.#units.setServing([])
    for (const unit of units) {
      rmSync(wantsLink(unit, 'multi-user.target'), { force: true })
      rmSync(join(unitDirectory, unit), { force: true })
      this.#loaded.delete(unit)
    }
    const sockets = this.#listed(run, 'sockets')
    rmSync(this.#directory(run), { recursive: true, force: true })
    const needed = new Set(this.#names().flatMap((name) => this.#listed(name, 'sockets')))
    for (const unit of sockets) if (!needed.has(unit)) await this.#endSocket(unit)
    return { killed }
  }

  async runs(): Promise<ServiceRun[]> {
    const serving = new Set(this.#units.serving())
    const runs = this.#names().map((name) => ({ name, units: this.#listed(name, 'units') }))
    const pids = await this.#units.pidsOf(runs.flatMap(({ units }) => units))
    return runs.map(({ name, units }) => ({
      name,
      serving: units.some((unit) => serving.has(unit)),
      pids: units.map((unit) => pids.get(unit) ?? 0).filter((pid) => pid > 0),
      stopTimeout: stopTimeoutOf(units[0]),
    }))
  }

  async holds(address: ListenAddress): Promise<boolean> {
    // systemd itself holds it, as process 1.
    return existsSync(join(unitDirectory, this.#socketUnit(address))) && listensOn(1, address.port)
  }

  exited(run: string, signal: AbortSignal): Promise<never> {
    return this.#units.exited(this.#listed(run, 'units'), signal)
  }

  /** Ends all that it started. */
  async endAll(): Promise<{ killed: boolean }> {
    const ends = await Promise.all(this.#names().map((name) => this.end(name)))
    return { killed: ends.some(({ killed }) => killed) }
  }

  #names(): string[] {
    const directory = join(this.#place.stateDirectory, 'runs')
    return existsSync(directory) ? readdirSync(directory) : []
  }

  #directory(run: string): string {
    return join(this.#place.stateDirectory, 'runs', run)
  }

  #listed(run: string, what: 'units' | 'sockets'): string[] {
    return readIfThere(join(this.#directory(run), what))
      .split('\n')
      .filter((unit) => unit !== '')
  }

  #socketUnit({ host, port }: ListenAddress): string {
    return `${this.#name}:socket-${host ?? 'any'}-${port}.socket`
  }

  #writeSocket(address: ListenAddress): string {
    const { application, environment } = this.#place
    const unit = this.#socketUnit(address)
    const service = idleOf(unit)
    const listen = address.host === null ? String(address.port) : `${address.host}:${address.port}`
    writeIfChanged(join(unitDirectory, service), idleText())
    writeIfChanged(join(unitDirectory, unit), socketText({ application, environment, listen, service }))
    return unit
  }

  async #endSocket(unit: string): Promise<void> {
    await systemctl(unit, 'stop', unit, idleOf(unit))
    rmSync(wantsLink(unit, 'sockets.target'), { force: true })
    for (const one of [unit, idleOf(unit)]) rmSync(join(unitDirectory, one), { force: true })
    this.#loaded.delete(unit)
  }
}

/** What a socket starts when nobody accepts on it. Each has one of its own: a socket whose service is active is not opened. */
function idleOf(socket: string): string {
  return socket.replace(/\.socket$/, '-idle.service')
}

/** Milliseconds. */
function stopTimeoutOf(unit: string | undefined): number {
  return Number(
    /^TimeoutStopSec=(\d+)ms$/m.exec(unit === undefined ? '' : readIfThere(join(unitDirectory, unit)))?.[1] ?? Infinity,
  )
}

function wantsLink(unit: string, target: string): string {
  return join(unitDirectory, `${target}.wants`, unit)
}

function link(unit: string, target: string): void {
  const path = wantsLink(unit, target)
  if (existsSync(path)) return
  mkdirSync(join(unitDirectory, `${target}.wants`), { recursive: true })
  symlinkSync(join(unitDirectory, unit), path)
}

function readIfThere(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}

function writeIfChanged(path: string, text: string): void {
  if (readIfThere(path) === text) return
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
}
