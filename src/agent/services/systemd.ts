import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import type { ServiceState } from '../../protocol/agent-messages.ts'
import { DployError } from '../../protocol/errors.ts'
import { userIds } from '../user.ts'
import type { LogLine, ServiceManager, ServicePlace, ServiceRelease } from './contract.ts'
import { unitsOf as unitsOfProcess, type OwnProcesses } from './listener.ts'
import { releaseOf, startedAt, startTicks } from './processes.ts'
import { SeenUnits, type Unit } from './seen-units.ts'
import { startServices, systemctl, unitDirectory } from './systemctl.ts'
import { SystemdBeside } from './systemd-beside.ts'
import { environmentText, unitText } from './systemd-unit.ts'

const run = promisify(execFile)

/** How often a running instance is looked at. Milliseconds. */
const lookEvery = 50
/** How long what systemd said of processes that still run is believed. Milliseconds. */
const believed = 60_000
/** Room for `systemctl show` of many instances. Bytes. */
const maxBuffer = 4 * 1024 * 1024

interface UnitFile {
  file: string
  text: string
}

/** Whether systemd is PID 1 here and this process may write units (sd_booted(3)). */
export function systemdIsHere(): boolean {
  return existsSync('/run/systemd/system') && process.getuid?.() === 0
}

/** Runs a service as systemd units: one, or with several instances one of a template each. */
export class SystemdManager implements ServiceManager {
  readonly kind = 'systemd'
  readonly #place: ServicePlace
  readonly #name: string
  readonly beside: SystemdBeside
  readonly #seen: SeenUnits

  constructor(place: ServicePlace) {
    this.#place = place
    this.#name = `dploy-${place.application}-${place.environment}`
    mkdirSync(place.stateDirectory, { recursive: true, mode: 0o700 })
    this.#seen = new SeenUnits(join(place.stateDirectory, 'seen.json'))
    this.beside = new SystemdBeside(place, this.#name, {
      serving: () => this.#units(),
      setServing: (units) => writePrivately(this.#enabledMark, `${units.join('\n')}\n`),
      pidsOf: async (units) => new Map((await this.#show(units, Infinity)).map(({ unit, pid }) => [unit, pid])),
      exited: (units, signal) => this.#exited(units, Infinity, signal),
    })
  }

  async replace(release: ServiceRelease, flip: () => void): Promise<{ killed: boolean }> {
    // Where releases were kept beside each other, their sockets would be in the way.
    const beside = await this.beside.endAll()
    const before = this.#units()
    const units = unitsOf(this.#name, release)
    const unit = this.#unit(release)
    const gone = before.filter((name) => !units.includes(name))
    this.#seen.forget()
    const { timeout, ms } = await this.#endOld(before, unit)
    if (gone.length > 0) await this.#systemctl('disable', '--now', '--quiet', ...gone)
    await this.#write(release, unit)
    // The unit's working directory is `current`, which is looked up when it starts: one restart ends the old release and
    // starts the new one.
    flip()
    const since = Date.now()
    try {
      await startServices('restart', units)
    } catch (error) {
      // What systemd says of it does not tell that the user is not there.
      if (release.service.user !== undefined) userIds(release.service.user)
      throw error
    } finally {
      this.#seen.forget()
    }
    const restart = Date.now() - since
    if (before.length !== units.length || gone.length > 0 || !existsSync(this.#enabledMark)) {
      await this.#systemctl('enable', '--quiet', ...units)
      writeFileSync(this.#enabledMark, `${units.join('\n')}\n`)
    }
    return { killed: beside.killed || ms + restart >= timeout }
  }

  async ensure(): Promise<void> {}

  async stop(): Promise<void> {
    this.#seen.forget()
    await this.beside.endAll()
    const units = this.#units()
    if (units.length === 0) return
    this.#seen.forget()
    await this.#systemctl('disable', '--now', '--quiet', ...units)
    rmSync(this.#enabledMark, { force: true })
  }

  async observe(): Promise<ServiceState> {
    const instances = await this.#show(this.#units(), believed)
    if (instances.length === 0) return { state: 'stopped', release: null, since: null, pids: [], restarts: 0 }
    const pids = instances.flatMap(({ pid }) => (pid > 0 ? [pid] : []))
    const releases = new Set(pids.map((pid) => releaseOf(pid, this.#place.directory)))
    const since = pids.map(startedAt).filter((at) => at !== null)
    const state = instances.every(({ active }) => active === 'active')
      ? 'running'
      : instances.every(({ active }) => active === 'inactive')
        ? 'stopped'
        : 'failed'
    return {
      state,
      release: releases.size === 1 ? [...releases][0]! : null,
      since: since.length > 0 ? Math.max(...since) : null,
      pids,
      restarts: instances.reduce((sum, { restarts }) => sum + restarts, 0),
    }
  }

  /** By control group, which no process leaves by forking. */
  async processes(): Promise<OwnProcesses> {
    const [instances, runs] = await Promise.all([this.#show(this.#units(), believed), this.beside.runs()])
    const pids = [...instances.map(({ pid }) => pid).filter((pid) => pid > 0), ...runs.flatMap((run) => run.pids)]
    const starts = [`${this.#name}@`, `${this.#name}:`]
    return {
      pids: [...new Set(pids)],
      has: (pid) =>
        unitsOfProcess(pid).some(
          (unit) => unit === `${this.#name}.service` || starts.some((start) => unit.startsWith(start)),
        ),
    }
  }

  exited(signal: AbortSignal): Promise<never> {
    return this.#exited(this.#units(), believed, signal)
  }

  async #exited(units: readonly string[], age: number, signal: AbortSignal): Promise<never> {
    const running = await this.#show(units, age)
    while (!signal.aborted) {
      const ended = running.find(({ pid, ticks }) => pid === 0 || ticks === null || startTicks(pid) !== ticks)
      if (ended) throw await this.#exitError(ended.unit, ended.pid)
      await new Promise((resolve) => setTimeout(resolve, lookEvery))
    }
    throw signal.reason
  }

  async logs(
    options: { lines: number; follow: boolean; signal: AbortSignal },
    onLine: (line: LogLine) => void,
  ): Promise<void> {
    const units = this.#units().flatMap((unit) => ['--unit', unit])
    if (this.beside.isUsed) units.splice(0, Infinity, this.beside.logField)
    if (units.length === 0) return
    const args = [
      '--output=json',
      '--no-pager',
      '--quiet',
      `--lines=${options.lines}`,
      ...(options.follow ? ['--follow'] : []),
      ...units,
    ]
    const child = spawn('journalctl', args, {
      stdio: ['ignore', 'pipe', 'ignore'],
      signal: options.signal,
      killSignal: 'SIGKILL',
    })
    const closed = new Promise<void>((resolve) => {
      child.once('error', () => resolve())
      child.once('close', () => resolve())
    })
    for await (const line of createInterface({ input: child.stdout })) {
      const entry = JSON.parse(line) as { __REALTIME_TIMESTAMP?: string; MESSAGE?: string | number[] | null }
      // journalctl gives a message that is not UTF-8 as a list of bytes.
      const text = Array.isArray(entry.MESSAGE) ? Buffer.from(entry.MESSAGE).toString('utf8') : (entry.MESSAGE ?? '')
      onLine({
        at: entry.__REALTIME_TIMESTAMP === undefined ? null : Math.floor(Number(entry.__REALTIME_TIMESTAMP) / 1000),
        text,
      })
    }
    await closed
  }

  get #enabledMark(): string {
    return join(this.#place.stateDirectory, 'units')
  }

  #units(): string[] {
    try {
      return readFileSync(this.#enabledMark, 'utf8')
        .split('\n')
        .filter((unit) => unit !== '')
    } catch {
      return []
    }
  }

  /**
   * Ends the old processes before the unit is written anew, because systemd would end them by the new definition's
   * signal and time. Where the unit stays as it is, the restart does both at once. Answers their time to end.
   */
  async #endOld(units: readonly string[], next: UnitFile): Promise<{ timeout: number; ms: number }> {
    const old = textOf(next.file)
    const timeout = Number(/^TimeoutStopSec=(\d+)ms$/m.exec(old ?? '')?.[1] ?? Infinity)
    if (units.length === 0 || old === null || old === next.text) return { timeout, ms: 0 }
    const since = Date.now()
    await this.#systemctl('stop', ...units)
    return { timeout, ms: Date.now() - since }
  }

  #unit({ service }: ServiceRelease): UnitFile {
    const many = service.instances > 1
    const { application, environment, directory, stateDirectory } = this.#place
    return {
      file: join(unitDirectory, `${this.#name}${many ? '@' : ''}.service`),
      text: unitText({
        application,
        environment,
        service,
        directory: join(directory, 'current'),
        environmentFile: join(stateDirectory, 'environment'),
        instanceFiles: many ? join(stateDirectory, 'instances') : null,
      }),
    }
  }

  /** Writes unit and environment of a release; tells systemd only when the unit's text changed, since that is slow. */
  async #write(release: ServiceRelease, unit: UnitFile): Promise<void> {
    const { service, ports } = release
    const many = service.instances > 1
    const port: Record<string, string> = ports[0] === undefined || many ? {} : { PORT: String(ports[0]) }
    writePrivately(join(this.#place.stateDirectory, 'environment'), environmentText({ ...release.env, ...port }))
    if (many) {
      const directory = join(this.#place.stateDirectory, 'instances')
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      for (let index = 0; index < service.instances; index++)
        writePrivately(
          join(directory, String(index + 1)),
          environmentText(ports[index] === undefined ? ({} as Record<string, string>) : { PORT: String(ports[index]) }),
        )
    }
    if (textOf(unit.file) === unit.text) return
    writeFileSync(`${unit.file}.new`, unit.text)
    renameSync(`${unit.file}.new`, unit.file)
    await this.#systemctl('daemon-reload')
  }

  /** What systemd says of the units. Not asked again for `age` milliseconds while the same processes run: each time costs a process here. */
  async #show(units: readonly string[], age: number): Promise<Unit[]> {
    const known = this.#seen.of(units, age)
    if (known) return known
    const shown = await this.#ask(units)
    this.#seen.keep(shown)
    return shown
  }

  async #ask(units: readonly string[]): Promise<Unit[]> {
    const text = await this.#systemctl('show', '--property=Id,ActiveState,MainPID,NRestarts', ...units)
    return text
      .trim()
      .split('\n\n')
      .map((block): Unit => {
        const values = Object.fromEntries(
          block.split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
        )
        const pid = Number(values.MainPID ?? 0)
        return {
          unit: values.Id ?? '',
          active: values.ActiveState ?? 'unknown',
          pid,
          ticks: startTicks(pid),
          restarts: Number(values.NRestarts ?? 0),
        }
      })
  }

  async #exitError(unit: string, pid: number): Promise<DployError> {
    const [result, printed] = await Promise.all([
      this.#systemctl('show', '--property=ExecMainCode,ExecMainStatus', '--value', unit).catch(() => ''),
      run(
        'journalctl',
        ['--output=cat', '--no-pager', '--quiet', '--lines=10', '--unit', unit, ...(pid > 0 ? [`_PID=${pid}`] : [])],
        { maxBuffer },
      ).then(
        ({ stdout }) => stdout.trimEnd(),
        () => '',
      ),
    ])
    const status = result.trim().split('\n').at(-1)
    return new DployError(
      'service.exited',
      `The service ended${status && /^\d+$/.test(status) && status !== '0' ? ` with code ${status}` : ''}${printed === '' ? '' : `. It printed last:\n${printed}`}`,
    )
  }

  #systemctl(...args: string[]): Promise<string> {
    return systemctl(this.#name, ...args)
  }
}

function unitsOf(name: string, { service }: ServiceRelease): string[] {
  return service.instances > 1
    ? Array.from({ length: service.instances }, (_, index) => `${name}@${index + 1}.service`)
    : [`${name}.service`]
}

function textOf(path: string): string | null {
  return existsSync(path) ? readFileSync(path, 'utf8') : null
}

function writePrivately(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 })
  renameSync(`${path}.new`, path)
}
