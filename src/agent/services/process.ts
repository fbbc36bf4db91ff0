import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import type { ServiceState } from '../../protocol/agent-messages.ts'
import { DployError } from '../../protocol/errors.ts'
import { userIds } from '../user.ts'
import type { Beside, LogLine, ServiceManager, ServicePlace, ServiceRelease } from './contract.ts'
import {
  keeperAnswerSchema,
  type Instance,
  type KeeperAnswer,
  type KeeperRequest,
  type KeptService,
} from './keeper-messages.ts'
import { withDescendants } from './connections.ts'
import type { OwnProcesses } from './listener.ts'
import { followFile, lastLines } from './log-file.ts'
import { releaseOf, startedAt } from './processes.ts'
import { shortSocketPath } from './socket-path.ts'

const keeperEnded = 'The process keeper ended'
/** How long a keeper has to answer after it was started. Milliseconds. */
const startTimeout = 10_000

/** How long one that was killed may still take connections, which end with its last thread. Milliseconds. */
const endingFor = 2_000

type Request = KeeperRequest extends infer R ? (R extends KeeperRequest ? Omit<R, 'id'> : never) : never
type Exit = { pid: number; code: number | null; signal: string | null }
type Answer = Extract<KeeperAnswer, { ok: true }>

/** Runs a service through dploy's own process keeper: where systemd is not PID 1 (containers, `dploy demo`). */
export class ProcessManager implements ServiceManager {
  readonly kind = 'process'
  readonly #place: ServicePlace
  readonly #keeper: { file: string; args: string[] }
  readonly #directory: string
  readonly #pending = new Map<number, { resolve(answer: Answer): void; reject(error: Error): void }>()
  /** Told of each instance that ended by itself, and of the end of the keeper. */
  readonly #listeners = new Set<(exit: Exit | 'keeper') => void>()
  #connecting: Promise<Socket> | null = null
  #starting: Promise<Socket> | null = null
  #nextId = 1
  #quitting = false

  /** `keeper`: the command that runs a keeper, to which its directory is added. */
  constructor(place: ServicePlace, keeper: { file: string; args: string[] }) {
    this.#place = place
    this.#keeper = keeper
    this.#directory = place.stateDirectory
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
  }

  async replace(release: ServiceRelease, flip: () => void): Promise<{ killed: boolean }> {
    const { killed } = await this.#ask({ op: 'stop' })
    flip()
    await this.#ask({ op: 'start', service: keptService(release) })
    return { killed: killed ?? false }
  }

  readonly beside: Beside = {
    start: async (run, release, sockets) => {
      await this.#ask({ op: 'boot', run, service: { ...keptService(release), sockets: [...sockets] } })
    },
    prepare: async () => {},
    serve: async (run) => {
      await this.#ask({ op: 'serve', run })
    },
    end: async (run) => {
      if (!(await this.#isKept())) return { killed: false }
      const { killed } = await this.#ask({ op: 'end', run })
      return { killed: killed ?? false }
    },
    runs: async () => {
      if (!(await this.#isKept())) return []
      const { runs } = await this.#ask({ op: 'observe' })
      return (runs ?? []).map(({ name, serving, service, instances }) => ({
        name,
        serving,
        pids: pidsOf(instances),
        stopTimeout: service.stopTimeout,
      }))
    },
    holds: async ({ port }) => {
      if (!(await this.#isKept())) return false
      const { held } = await this.#ask({ op: 'observe' })
      return held?.includes(port) ?? false
    },
    exited: (run, signal) =>
      this.#exited(signal, ({ runs }) => runs?.find(({ name }) => name === run)?.instances ?? []),
  }

  /** Ends the service and its keeper; of a keeper that was killed, what it left running. */
  async stop(): Promise<void> {
    const socket = (await this.#dial()) ?? (this.#wantsService ? await this.#start() : null)
    if (!socket) return
    const closed = new Promise((resolve) => socket.once('close', resolve))
    this.#quitting = true
    try {
      await this.#ask({ op: 'quit' })
      await closed
    } catch (error) {
      // Another agent's stop was first.
      if ((await this.#dial()) !== null) throw error
    } finally {
      this.#quitting = false
    }
  }

  async ensure(): Promise<void> {
    if (this.#wantsService && !(await this.#dial())) await this.#start()
  }

  async observe(): Promise<ServiceState> {
    await this.ensure()
    if (!(await this.#dial())) return { state: 'stopped', release: null, since: null, pids: [], restarts: 0 }
    const { service, instances } = await this.#ask({ op: 'observe' })
    if (!service || !instances) return { state: 'stopped', release: null, since: null, pids: [], restarts: 0 }
    const pids = pidsOf(instances)
    const releases = new Set(pids.map((pid) => releaseOf(pid, this.#place.directory)))
    const since = pids.map(startedAt).filter((at) => at !== null)
    return {
      state: pids.length === instances.length ? 'running' : 'failed',
      release: releases.size === 1 ? [...releases][0]! : null,
      since: since.length > 0 ? Math.max(...since) : null,
      pids,
      restarts: instances.reduce((sum, { restarts }) => sum + restarts, 0),
    }
  }

  async processes(): Promise<OwnProcesses> {
    const { instances, runs } = (await this.#isKept()) ? await this.#ask({ op: 'observe' }) : {}
    const pids = [...new Set([instances ?? [], ...(runs ?? []).map((run) => run.instances)].flatMap(pidsOf))]
    const all = withDescendants(pids)
    return { pids, has: (pid) => all.has(pid) }
  }

  exited(signal: AbortSignal): Promise<never> {
    return this.#exited(signal, ({ instances }) => instances ?? [])
  }

  /** Of instances that are beside what is looked at, an end is nothing. */
  async #exited(signal: AbortSignal, instancesOf: (answer: Answer) => readonly Instance[]): Promise<never> {
    const aborted = new Promise<never>((_, reject) => {
      if (signal.aborted) reject(signal.reason as Error)
      else signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    })
    aborted.catch(() => {})
    let before: string | null = null
    for (;;) {
      const { promise, resolve } = Promise.withResolvers<Exit | 'keeper'>()
      const ends: (Exit | 'keeper')[] = []
      let own: (number | null)[] | null = null
      const listener = (exit: Exit | 'keeper') => {
        if (own === null) ends.push(exit)
        else if (exit === 'keeper' || own.includes(exit.pid)) resolve(exit)
      }
      this.#listeners.add(listener)
      try {
        await Promise.race([this.ensure(), aborted])
        const pids = instancesOf(await Promise.race([this.#ask({ op: 'observe' }), aborted])).map(({ pid }) => pid)
        own = pids
        for (const exit of ends) listener(exit)
        // What ended while there was no keeper, nobody told.
        if (pids.includes(null) || (before !== null && before !== pids.join())) throw this.#exitError('has ended')
        before = pids.join()
        const exit = await Promise.race([promise, aborted])
        if (exit !== 'keeper')
          throw this.#exitError(
            exit.signal !== null ? `was ended by ${exit.signal}` : `ended with code ${exit.code ?? 'unknown'}`,
          )
      } finally {
        this.#listeners.delete(listener)
      }
    }
  }

  async logs(
    options: { lines: number; follow: boolean; signal: AbortSignal },
    onLine: (line: LogLine) => void,
  ): Promise<void> {
    await followFile(this.#log, options, onLine)
  }

  /** Whether a keeper runs, or should and is started. */
  async #isKept(): Promise<boolean> {
    await this.ensure()
    return (await this.#dial()) !== null
  }

  /** Whether the keeper that was here last was to keep a service. */
  get #wantsService(): boolean {
    try {
      const { service, runs } = JSON.parse(readFileSync(join(this.#directory, 'keeper.json'), 'utf8')) as {
        service?: unknown
        runs?: unknown[]
      }
      return runs === undefined ? service !== null : runs.length > 0
    } catch {
      return false
    }
  }

  get #log(): string {
    return join(this.#directory, 'service.log')
  }

  #exitError(what: string): DployError {
    const printed = lastLines(this.#log, 10).map((line) => line.slice(0, 2_000))
    return new DployError(
      'service.exited',
      `The service ${what}${printed.length > 0 ? `. It printed last:\n${printed.join('\n')}` : ''}`,
    )
  }

  /** What only looks is asked again of the next keeper, where the one that was asked ended; what changes something may have been done. */
  async #ask(request: Request): Promise<Answer> {
    for (const deadline = Date.now() + endingFor; ; await delay(10)) {
      try {
        return await this.#askOnce(request)
      } catch (error) {
        if (
          request.op !== 'observe' ||
          !(error instanceof DployError) ||
          error.message !== keeperEnded ||
          Date.now() > deadline
        )
          throw error
      }
    }
  }

  async #askOnce(request: Request): Promise<Answer> {
    const socket = (await this.#dial()) ?? (await this.#start())
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject })
      socket.write(`${JSON.stringify({ ...request, id })}\n`)
    })
  }

  /** A connection to the keeper; null when none runs. */
  async #dial(): Promise<Socket | null> {
    // Who shares an attempt that fails is told the same: there is none.
    if (this.#connecting) return this.#connecting.catch(() => null)
    const connecting = this.#connect()
    this.#connecting = connecting
    try {
      return await connecting
    } catch {
      if (this.#connecting === connecting) this.#connecting = null
      return null
    }
  }

  async #connect(): Promise<Socket> {
    using path = shortSocketPath(join(this.#directory, 'keeper.sock'))
    const socket = connect(path.path)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#connecting = null
      for (const { reject } of this.#pending.values())
        reject(new DployError('service.manager_unavailable', keeperEnded))
      this.#pending.clear()
      for (const listener of this.#listeners) listener('keeper')
      this.#revive()
    })
    createInterface({ input: socket })
      .on('line', (line) => this.#receive(line))
      .on('error', () => {})
    return socket
  }

  #receive(line: string): void {
    const answer = keeperAnswerSchema.parse(JSON.parse(line))
    if ('event' in answer) {
      for (const listener of this.#listeners) listener(answer)
      return
    }
    const pending = this.#pending.get(answer.id)
    this.#pending.delete(answer.id)
    if (answer.ok) pending?.resolve(answer)
    else pending?.reject(new DployError('service.manager_unavailable', answer.message))
  }

  #start(): Promise<Socket> {
    this.#starting ??= this.#startKeeper().finally(() => (this.#starting = null))
    return this.#starting
  }

  async #startKeeper(): Promise<Socket> {
    const deadline = Date.now() + startTimeout
    let ended = true
    while (Date.now() < deadline) {
      const socket = await this.#dial()
      if (socket) return socket
      // One that found another keeper still there, about to end, has ended itself.
      if (ended) {
        ended = false
        this.#spawnKeeper(() => (ended = true))
      }
      await delay(10)
    }
    throw new DployError('service.manager_unavailable', 'The process keeper does not answer', {
      where: this.#directory,
      fix: `Read ${join(this.#directory, 'keeper.log')}`,
    })
  }

  #spawnKeeper(onEnd: () => void): void {
    const log = openSync(join(this.#directory, 'keeper.log'), 'a', 0o600)
    const child = spawn(this.#keeper.file, [...this.#keeper.args, this.#directory], {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: '/',
    })
    closeSync(log)
    child.once('error', () => {})
    child.once('exit', onEnd)
    child.unref()
  }

  /** A keeper that was killed is started again while the agent lives, so that its instances stay looked after. */
  #revive(): void {
    if (!this.#quitting) setTimeout(() => void this.ensure().catch(() => {}), 100).unref()
  }
}

function keptService(release: ServiceRelease): KeptService {
  const { service } = release
  return {
    release: release.number,
    cwd: release.path,
    command: service.command!,
    env: { ...release.env },
    ports: release.ports.length === 0 ? Array.from({ length: service.instances }, () => null) : [...release.ports],
    ...(service.user === undefined ? {} : userIds(service.user)),
    stopSignal: service.stop.signal,
    stopTimeout: service.stop.timeout,
  }
}

function pidsOf(instances: readonly Instance[]): number[] {
  return instances.flatMap(({ pid }) => (pid === null ? [] : [pid]))
}
