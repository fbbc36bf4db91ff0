import { spawn } from 'node:child_process'
import { appendFileSync, closeSync, copyFileSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import * as z from 'zod'
import { endGroup, shellText } from '../../protocol/command-line.ts'
import { instanceSchema, keeperRequestSchema, keptServiceSchema, type Instance, type KeeperAnswer, type KeeperRequest, type KeptService } from './keeper-messages.ts'
import { lockKeeper } from './keeper-lock.ts'
import { bootId, groupsWritingTo, startTicks } from './processes.ts'
import { shortSocketPath } from './socket-path.ts'

/** Between restarts of an instance that ends: the first, and the longest that it doubles to. Milliseconds. */
const firstBackoff = 1_000
const longestBackoff = 30_000
/** An instance that ran this long starts with the first delay again. Milliseconds. */
const steady = 10_000
/** How often instances that another keeper started are looked at (no one tells of their end), and the log's size. Milliseconds. */
const lookEvery = 100
const rotateEvery = 5_000
/** The log is rotated above this size; so many old ones are kept. Bytes. */
const logBytes = 10 * 1024 * 1024
const oldLogs = 2
/** How long processes that a dead keeper left behind have to end, where no service says it. Milliseconds. */
const leftBehindGrace = 2_000

/** `boot`: process ids and start times mean nothing after the machine started anew. */
const storedSchema = z.object({ service: keptServiceSchema.nullable(), instances: z.array(instanceSchema), boot: z.string().optional() })

/**
 * The process keeper: for machines without systemd. Starts the instances of one service as process groups of their own,
 * starts them again when they end, and tells the agent. It survives the agent; killed itself, its successor finds the
 * instances by process id and start time and goes on with them.
 */
export class Keeper {
  readonly #directory: string
  readonly #clients = new Set<Socket>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #service: KeptService | null = null
  #instances: Instance[] = []
  /** Grows with every start and stop, so that what was planned before does nothing after. */
  #generation = 0
  /** What instances that ended left of their process groups, while it is being ended. */
  readonly #endings = new Set<Promise<unknown>>()
  /** The state could not be written, and is tried again. */
  #unsaved = false
  #busy: Promise<unknown> = Promise.resolve()
  readonly #quit = Promise.withResolvers<void>()

  constructor(directory: string) {
    this.#directory = directory
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  }

  /** Takes over what ran before and serves until it is told to quit. Ends at once beside another keeper. */
  async run(): Promise<void> {
    using lock = lockKeeper(this.#directory)
    if (!lock) return
    await this.#restore()
    using socket = shortSocketPath(join(this.#directory, 'keeper.sock'))
    rmSync(socket.path, { force: true })
    const server = createServer((client) => this.#serve(client))
    server.listen(socket.path)
    const upkeep = setInterval(() => {
      this.#rotate()
      if (this.#unsaved) this.#store()
    }, rotateEvery)
    await this.#quit.promise
    clearInterval(upkeep)
    for (const timer of this.#timers) clearTimeout(timer)
    for (const client of this.#clients) client.end()
    server.close()
    rmSync(socket.path, { force: true })
  }

  #serve(client: Socket): void {
    this.#clients.add(client)
    client.on('error', () => {})
    client.on('close', () => this.#clients.delete(client))
    createInterface({ input: client }).on('line', (line) => {
      const request = requestOf(line)
      if (!request) return client.destroy()
      this.#busy = this.#busy.then(async () => {
        try {
          send(client, await this.#answer(request))
        } catch (error) {
          send(client, { id: request.id, ok: false, message: (error as Error).message })
        }
        if (request.op === 'quit') this.#quit.resolve()
      })
    }).on('error', () => {})
  }

  async #answer(request: KeeperRequest): Promise<KeeperAnswer> {
    switch (request.op) {
      case 'start': {
        const { killed } = await this.#stop()
        this.#service = request.service
        this.#instances = request.service.ports.map((port) => ({ port, pid: null, startTicks: null, restarts: 0 }))
        this.#store()
        this.#instances.forEach((_, index) => this.#startInstance(index, this.#generation, firstBackoff))
        this.#store()
        return { id: request.id, ok: true, killed, instances: this.#instances }
      }
      case 'stop':
      case 'quit': {
        const { killed } = await this.#stop()
        this.#service = null
        this.#instances = []
        this.#store()
        return { id: request.id, ok: true, killed }
      }
      case 'observe':
        return { id: request.id, ok: true, service: this.#service, instances: this.#instances }
      default:
        return request satisfies never
    }
  }

  async #stop(): Promise<{ killed: boolean }> {
    this.#generation++
    const service = this.#service
    if (!service) return { killed: false }
    await Promise.all(this.#endings)
    const ends = await Promise.all(
      this.#instances.map(async (instance) => {
        // The group may outlive its leader: children of a shell.
        if (instance.pid === null) return { killed: false }
        return endGroup(instance.pid, service.stopSignal as NodeJS.Signals, service.stopTimeout)
      }),
    )
    return { killed: ends.some(({ killed }) => killed) }
  }

  #startInstance(index: number, generation: number, backoff: number): void {
    const service = this.#service!
    const instance = this.#instances[index]!
    const began = Date.now()
    const failed = (error: Error) => {
      const why = existsSync(service.cwd) ? error.message : `there is no directory ${service.cwd}`
      this.#note(`cannot start: ${why}`)
      this.#ended(index, generation, -1, null, null, began, backoff)
    }
    let log: number | null = null
    try {
      log = openSync(this.#log, 'a', 0o600)
      const child = spawn('/bin/sh', ['-c', shellText(service.command)], {
        cwd: service.cwd,
        env: { ...service.env, ...(instance.port === null ? {} : { PORT: String(instance.port) }) },
        detached: true,
        stdio: ['ignore', log, log],
        ...(service.uid === undefined ? {} : { uid: service.uid }),
        ...(service.gid === undefined ? {} : { gid: service.gid }),
      })
      child.once('error', failed)
      if (child.pid === undefined) return
      const { pid } = child
      instance.pid = pid
      instance.startTicks = startTicks(pid)
      child.once('exit', (code, signal) => this.#ended(index, generation, pid, code, signal, began, backoff))
    } catch (error) {
      setImmediate(failed, error as Error)
    } finally {
      if (log !== null) closeSync(log)
    }
  }

  #ended(index: number, generation: number, pid: number, code: number | null, signal: string | null, began: number, backoff: number): void {
    if (generation !== this.#generation) return
    const instance = this.#instances[index]!
    const gone = instance.pid === null ? Promise.resolve() : this.#endLeftBehind(instance.pid, 'SIGTERM', leftBehindGrace)
    instance.pid = null
    instance.startTicks = null
    instance.restarts++
    this.#store()
    for (const client of this.#clients) send(client, { event: 'exit', pid, code, signal })
    const wait = Date.now() - began > steady ? firstBackoff : backoff
    this.#later(wait, async () => {
      await gone
      if (generation !== this.#generation) return
      this.#startInstance(index, generation, Math.min(wait * 2, longestBackoff))
      this.#store()
    })
  }

  #endLeftBehind(group: number, signal: NodeJS.Signals, timeout: number): Promise<void> {
    const ending = endGroup(group, signal, timeout).then(
      () => {},
      (error: unknown) => this.#note(`cannot end the process group ${group}: ${(error as Error).message}`),
    )
    this.#endings.add(ending)
    void ending.finally(() => this.#endings.delete(ending))
    return ending
  }

  /** Goes on with the instances of a keeper that was killed; starts those that ended meanwhile. */
  async #restore(): Promise<void> {
    const stored = this.#stored()
    const sameBoot = stored.boot === undefined || stored.boot === bootId()
    this.#service = stored.service
    this.#instances = stored.instances
    const alive = new Set<number>()
    for (const instance of this.#instances) {
      if (sameBoot && instance.pid !== null && instance.startTicks !== null && startTicks(instance.pid) === instance.startTicks) alive.add(instance.pid)
      else {
        if (instance.pid !== null) instance.restarts++
        instance.pid = null
        instance.startTicks = null
      }
    }
    // Instances that were started and not yet written down, and children of those that ended: they would hold the port.
    const { stopSignal = 'SIGTERM', stopTimeout = leftBehindGrace } = stored.service ?? {}
    const leftBehind = [...groupsWritingTo(this.#log)].filter((group) => !alive.has(group))
    await Promise.all(leftBehind.map((group) => this.#endLeftBehind(group, stopSignal as NodeJS.Signals, stopTimeout)))
    if (!stored.service) return
    const generation = this.#generation
    for (const [index, { pid }] of this.#instances.entries()) {
      if (pid !== null) this.#lookAfter(index, generation)
      else this.#startInstance(index, generation, firstBackoff)
    }
    this.#store()
  }

  #stored(): z.infer<typeof storedSchema> {
    try {
      return storedSchema.parse(JSON.parse(readFileSync(join(this.#directory, 'keeper.json'), 'utf8')))
    } catch {
      return { service: null, instances: [] }
    }
  }

  #lookAfter(index: number, generation: number): void {
    this.#later(lookEvery, () => {
      if (generation !== this.#generation) return
      const { pid, startTicks: ticks } = this.#instances[index]!
      if (pid !== null && startTicks(pid) === ticks) this.#lookAfter(index, generation)
      else this.#ended(index, generation, pid ?? -1, null, null, Date.now(), firstBackoff)
    })
  }

  #later(ms: number, work: () => void | Promise<void>): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      void work()
    }, ms)
    this.#timers.add(timer)
  }

  /** Where the disk is full, the instances go on and the state is written later. */
  #store(): void {
    const path = join(this.#directory, 'keeper.json')
    try {
      writeFileSync(`${path}.new`, JSON.stringify({ service: this.#service, instances: this.#instances, boot: bootId() } satisfies z.infer<typeof storedSchema>), { mode: 0o600 })
      renameSync(`${path}.new`, path)
      this.#unsaved = false
    } catch (error) {
      if (!this.#unsaved) process.stderr.write(`cannot write ${path}: ${(error as Error).message}\n`)
      this.#unsaved = true
    }
  }

  /** Tells those who read the service's log. */
  #note(text: string): void {
    try {
      appendFileSync(this.#log, `(dploy) ${text}\n`, { mode: 0o600 })
    } catch (error) {
      process.stderr.write(`${text}\n${(error as Error).message}\n`)
    }
  }

  /** The processes hold the file open, so it is copied and cut, not renamed; a line written in between is lost. */
  #rotate(): void {
    const log = this.#log
    if ((statSync(log, { throwIfNoEntry: false })?.size ?? 0) < logBytes) return
    try {
      for (let index = oldLogs; index > 1; index--) renameIfThere(`${log}.${index - 1}`, `${log}.${index}`)
      copyFileSync(log, `${log}.1`)
    } catch (error) {
      // A full disk: then room is worth more than old lines.
      process.stderr.write(`cannot keep ${log}: ${(error as Error).message}\n`)
      rmSync(`${log}.1`, { force: true })
    }
    truncateSync(log)
  }

  get #log(): string {
    return join(this.#directory, 'service.log')
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

function requestOf(line: string): KeeperRequest | null {
  try {
    return keeperRequestSchema.parse(JSON.parse(line))
  } catch (error) {
    process.stderr.write(`a request cannot be read: ${(error as Error).message}\n`)
    return null
  }
}

function send(client: Socket, message: KeeperAnswer): void {
  if (client.writable) client.write(`${JSON.stringify(message)}\n`)
}
