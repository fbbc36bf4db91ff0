import { spawn } from 'node:child_process'
import { closeSync, existsSync, openSync } from 'node:fs'
import { endGroup, shellText } from '../../protocol/command-line.ts'
import type { Instance, KeptService } from './keeper-messages.ts'
import { startTicks } from './processes.ts'

/** Between restarts of an instance that ends: the first, and the longest that it doubles to. Milliseconds. */
const firstBackoff = 1_000
const longestBackoff = 30_000
/** An instance that ran this long starts with the first delay again. Milliseconds. */
const steady = 10_000
/** How often instances that another keeper started are looked at: no one tells of their end. Milliseconds. */
const lookEvery = 100
/** How long what an instance that ended left of its process group has to end. Milliseconds. */
const leftBehindGrace = 2_000

export interface RunHost {
  /** Where instances print to. */
  log: string
  /** Descriptors of the listening sockets for these ports. */
  socketsFor(service: KeptService): number[]
  /** Something is to be written down. */
  changed(): void
  exited(pid: number, code: number | null, signal: string | null): void
  note(text: string): void
}

/** One release's instances in a keeper: started, started again when they end, and ended together. */
export class KeptRun {
  readonly service: KeptService
  readonly instances: Instance[]
  readonly #host: RunHost
  readonly #timers = new Set<NodeJS.Timeout>()
  /** What instances that ended left of their process groups, while it is being ended. */
  readonly #endings = new Set<Promise<unknown>>()
  #ending = false

  constructor(service: KeptService, instances: Instance[] | null, host: RunHost) {
    this.service = service
    this.instances = instances ?? service.ports.map((port) => ({ port, pid: null, startTicks: null, restarts: 0 }))
    this.#host = host
  }

  start(): void {
    this.instances.forEach((_, index) => this.#startInstance(index, firstBackoff))
    this.#host.changed()
  }

  /** Goes on with the instances of a keeper that was killed; starts those that ended meanwhile. */
  resume(): void {
    for (const [index, { pid }] of this.instances.entries()) {
      if (pid !== null) this.#lookAfter(index)
      else this.#startInstance(index, firstBackoff)
    }
  }

  /** Ends it for good. The group may outlive its leader: children of a shell. */
  async end(): Promise<{ killed: boolean }> {
    this.#ending = true
    this.clear()
    await Promise.all(this.#endings)
    const ends = await Promise.all(
      this.instances.map(async ({ pid }) =>
        pid === null
          ? { killed: false }
          : endGroup(pid, this.service.stopSignal as NodeJS.Signals, this.service.stopTimeout),
      ),
    )
    return { killed: ends.some(({ killed }) => killed) }
  }

  clear(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }

  #startInstance(index: number, backoff: number): void {
    const { service } = this
    const instance = this.instances[index]!
    const began = Date.now()
    const failed = (error: Error) => {
      const why = existsSync(service.cwd) ? error.message : `there is no directory ${service.cwd}`
      this.#host.note(`cannot start: ${why}`)
      this.#ended(index, -1, null, null, began, backoff)
    }
    let log: number | null = null
    try {
      log = openSync(this.#host.log, 'a', 0o600)
      const sockets = this.#host.socketsFor(service)
      const child = spawn('/bin/sh', ['-c', ...commandLine(service, sockets.length)], {
        cwd: service.cwd,
        env: {
          ...service.env,
          ...(instance.port === null ? {} : { PORT: String(instance.port) }),
          ...(sockets.length === 0 ? {} : { LISTEN_FDS: String(sockets.length) }),
        },
        detached: true,
        // Sockets are handed over from descriptor 3 on (sd_listen_fds(3)).
        stdio: ['ignore', log, log, ...sockets],
        ...(service.uid === undefined ? {} : { uid: service.uid }),
        ...(service.gid === undefined ? {} : { gid: service.gid }),
      })
      child.once('error', failed)
      if (child.pid === undefined) return
      const { pid } = child
      instance.pid = pid
      instance.startTicks = startTicks(pid)
      child.once('exit', (code, signal) => this.#ended(index, pid, code, signal, began, backoff))
    } catch (error) {
      setImmediate(failed, error as Error)
    } finally {
      if (log !== null) closeSync(log)
    }
  }

  #ended(index: number, pid: number, code: number | null, signal: string | null, began: number, backoff: number): void {
    if (this.#ending) return
    const instance = this.instances[index]!
    const gone = instance.pid === null ? Promise.resolve() : this.#endLeftBehind(instance.pid)
    instance.pid = null
    instance.startTicks = null
    instance.restarts++
    this.#host.changed()
    this.#host.exited(pid, code, signal)
    const wait = Date.now() - began > steady ? firstBackoff : backoff
    this.#later(wait, async () => {
      await gone
      if (this.#ending) return
      this.#startInstance(index, Math.min(wait * 2, longestBackoff))
      this.#host.changed()
    })
  }

  #endLeftBehind(group: number): Promise<void> {
    const ending = endGroup(group, 'SIGTERM', leftBehindGrace).then(
      () => {},
      (error: unknown) => this.#host.note(`cannot end the process group ${group}: ${(error as Error).message}`),
    )
    this.#endings.add(ending)
    void ending.finally(() => this.#endings.delete(ending))
    return ending
  }

  #lookAfter(index: number): void {
    this.#later(lookEvery, () => {
      if (this.#ending) return
      const { pid, startTicks: ticks } = this.instances[index]!
      if (pid !== null && startTicks(pid) === ticks) this.#lookAfter(index)
      else this.#ended(index, pid ?? -1, null, null, Date.now(), firstBackoff)
    })
  }

  #later(ms: number, work: () => void | Promise<void>): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      void work()
    }, ms)
    this.#timers.add(timer)
  }
}

/**
 * Arguments of `sh -c`. With sockets, the shell first says whose they are (sd_listen_fds(3): LISTEN_PID is the process's own id)
 * and is then replaced by the one that runs the command, under the same id.
 */
function commandLine(service: KeptService, sockets: number): string[] {
  const text = shellText(service.command)
  return sockets === 0 ? [text] : ['LISTEN_PID=$$; export LISTEN_PID; exec /bin/sh -c "$0"', text]
}
