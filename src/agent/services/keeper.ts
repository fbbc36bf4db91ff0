import { spawn } from 'node:child_process'
import { closeSync, copyFileSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import * as z from 'zod'
import { endGroup, shellText } from '../../protocol/command-line.ts'
import { instanceSchema, keeperRequestSchema, keptServiceSchema, type Instance, type KeeperAnswer, type KeeperRequest, type KeptService } from './keeper-messages.ts'
import { startTicks } from './processes.ts'
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

const storedSchema = z.object({ service: keptServiceSchema.nullable(), instances: z.array(instanceSchema) })

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
  #busy: Promise<unknown> = Promise.resolve()
  readonly #quit = Promise.withResolvers<void>()

  constructor(directory: string) {
    this.#directory = directory
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  }

  /** Takes over what ran before and serves until it is told to quit. */
  async run(): Promise<void> {
    this.#restore()
    using socket = shortSocketPath(join(this.#directory, 'keeper.sock'))
    rmSync(socket.path, { force: true })
    const server = createServer((client) => this.#serve(client))
    server.listen(socket.path)
    const rotation = setInterval(() => this.#rotate(), rotateEvery)
    await this.#quit.promise
    clearInterval(rotation)
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
      const request = keeperRequestSchema.parse(JSON.parse(line))
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
    const log = openSync(join(this.#directory, 'service.log'), 'a', 0o600)
    const began = Date.now()
    const child = spawn('/bin/sh', ['-c', shellText(service.command)], {
      cwd: service.cwd,
      env: { ...service.env, ...(instance.port === null ? {} : { PORT: String(instance.port) }) },
      detached: true,
      stdio: ['ignore', log, log],
      ...(service.uid === undefined ? {} : { uid: service.uid }),
      ...(service.gid === undefined ? {} : { gid: service.gid }),
    })
    closeSync(log)
    child.once('error', () => this.#ended(index, generation, -1, null, null, began, backoff))
    if (child.pid === undefined) return
    const { pid } = child
    instance.pid = pid
    instance.startTicks = startTicks(pid)
    child.once('exit', (code, signal) => this.#ended(index, generation, pid, code, signal, began, backoff))
  }

  #ended(index: number, generation: number, pid: number, code: number | null, signal: string | null, began: number, backoff: number): void {
    if (generation !== this.#generation) return
    const instance = this.#instances[index]!
    if (instance.pid !== null) void endGroup(instance.pid, 'SIGTERM', 2_000).catch(() => {})
    instance.pid = null
    instance.startTicks = null
    instance.restarts++
    this.#store()
    for (const client of this.#clients) send(client, { event: 'exit', pid, code, signal })
    const wait = Date.now() - began > steady ? firstBackoff : backoff
    this.#later(wait, () => {
      if (generation !== this.#generation) return
      this.#startInstance(index, generation, Math.min(wait * 2, longestBackoff))
      this.#store()
    })
  }

  /** Goes on with the instances of a keeper that was killed; starts those that ended meanwhile. */
  #restore(): void {
    let stored: z.infer<typeof storedSchema>
    try {
      stored = storedSchema.parse(JSON.parse(readFileSync(join(this.#directory, 'keeper.json'), 'utf8')))
    } catch {
      return
    }
    this.#service = stored.service
    this.#instances = stored.instances
    if (!stored.service) return
    const generation = this.#generation
    for (const [index, instance] of this.#instances.entries()) {
      if (instance.pid !== null && instance.startTicks !== null && startTicks(instance.pid) === instance.startTicks) this.#lookAfter(index, generation)
      else this.#startInstance(index, generation, firstBackoff)
    }
    this.#store()
  }

  #lookAfter(index: number, generation: number): void {
    this.#later(lookEvery, () => {
      if (generation !== this.#generation) return
      const { pid, startTicks: ticks } = this.#instances[index]!
      if (pid !== null && startTicks(pid) === ticks) this.#lookAfter(index, generation)
      else this.#ended(index, generation, pid ?? -1, null, null, Date.now(), firstBackoff)
    })
  }

  #later(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      work()
    }, ms)
    this.#timers.add(timer)
  }

  #store(): void {
    const path = join(this.#directory, 'keeper.json')
    writeFileSync(`${path}.new`, JSON.stringify({ service: this.#service, instances: this.#instances } satisfies z.infer<typeof storedSchema>), { mode: 0o600 })
    renameSync(`${path}.new`, path)
  }

  /** The processes hold the file open, so it is copied and cut, not renamed; a line written in between is lost. */
  #rotate(): void {
    const log = join(this.#directory, 'service.log')
    try {
      if (statSync(log).size < logBytes) return
      for (let index = oldLogs; index > 1; index--) renameIfThere(`${log}.${index - 1}`, `${log}.${index}`)
      copyFileSync(log, `${log}.1`)
      truncateSync(log)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

function send(client: Socket, message: KeeperAnswer): void {
  if (client.writable) client.write(`${JSON.stringify(message)}\n`)
}
