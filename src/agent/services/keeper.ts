import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import * as z from 'zod'
import { endGroup } from '../../protocol/command-line.ts'
import {
  instanceSchema,
  keeperRequestSchema,
  keptRunSchema,
  keptServiceSchema,
  type KeeperAnswer,
  type KeeperRequest,
  type KeptRunState,
  type KeptService,
} from './keeper-messages.ts'
import { lockKeeper } from './keeper-lock.ts'
import { KeptRun, type RunHost } from './kept-run.ts'
import { ListeningSockets } from './listening-sockets.ts'
import { bootId, groupsWritingTo, startTicks } from './processes.ts'
import { shortSocketPath } from './socket-path.ts'

/** How often the log's size is looked at. Milliseconds. */
const rotateEvery = 5_000
/** The log is rotated above this size; so many old ones are kept. Bytes. */
const logBytes = 10 * 1024 * 1024
const oldLogs = 2
/** How long processes that a dead keeper left behind have to end, where no service says it. Milliseconds. */
const leftBehindGrace = 2_000

/** The name of the only run of a service whose releases are not kept beside each other. */
const main = 'main'

/** `boot`: process ids and start times mean nothing after the machine started anew. */
const storedSchema = z.object({ runs: z.array(keptRunSchema), boot: z.string().optional() })
/** As keepers wrote it that knew one run. */
const formerSchema = z.object({
  service: keptServiceSchema.nullable(),
  instances: z.array(instanceSchema),
  boot: z.string().optional(),
})

/**
 * The process keeper: for machines without systemd. Starts the instances of one service as process groups of their own,
 * starts them again when they end, and tells the agent. It survives the agent; killed itself, its successor finds the
 * instances by process id and start time and goes on with them.
 */
export class Keeper {
  readonly #directory: string
  readonly #clients = new Set<Socket>()
  readonly #runs = new Map<string, KeptRun>()
  readonly #sockets = new ListeningSockets()
  /** Name of the run that serves. */
  #serving: string | null = null
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
    for (const run of this.#runs.values()) run.clear()
    for (const client of this.#clients) client.end()
    server.close()
    rmSync(socket.path, { force: true })
  }

  #serve(client: Socket): void {
    this.#clients.add(client)
    client.on('error', () => {})
    client.on('close', () => this.#clients.delete(client))
    createInterface({ input: client })
      .on('line', (line) => {
        const request = requestOf(line)
        if (!request) return client.destroy()
        // Ending a run may take as long as the service's stop.timeout says: what is asked meanwhile does not wait for it.
        const turn =
          request.op === 'end' ? this.#reply(client, request) : this.#busy.then(() => this.#reply(client, request))
        if (request.op !== 'end') this.#busy = turn
      })
      .on('error', () => {})
  }

  async #reply(client: Socket, request: KeeperRequest): Promise<void> {
    try {
      send(client, await this.#answer(request))
    } catch (error) {
      send(client, { id: request.id, ok: false, message: (error as Error).message })
    }
    if (request.op === 'quit') this.#quit.resolve()
  }

  async #answer(request: KeeperRequest): Promise<KeeperAnswer> {
    const { id } = request
    switch (request.op) {
      case 'start': {
        const { killed } = await this.#endAll()
        await this.#boot(main, request.service)
        this.#serving = main
        this.#store()
        return { id, ok: true, killed, instances: this.#runs.get(main)!.instances }
      }
      case 'boot':
        await this.#end(request.run)
        await this.#boot(request.run, request.service)
        return { id, ok: true }
      case 'serve':
        if (!this.#runs.has(request.run)) throw new Error(`nothing runs under the name ${request.run}`)
        this.#serving = request.run
        this.#store()
        return { id, ok: true }
      case 'end': {
        const { killed } = await this.#end(request.run)
        return { id, ok: true, killed }
      }
      case 'stop':
      case 'quit': {
        const { killed } = await this.#endAll()
        return { id, ok: true, killed }
      }
      case 'observe': {
        const serving = this.#serving === null ? undefined : this.#runs.get(this.#serving)
        return {
          id,
          ok: true,
          service: serving?.service ?? null,
          instances: serving?.instances ?? [],
          runs: this.#states(),
          held: this.#sockets.ports,
        }
      }
      default:
        return request satisfies never
    }
  }

  async #boot(name: string, service: KeptService): Promise<void> {
    await this.#sockets.hold(service.sockets ?? [])
    const run = new KeptRun(service, null, this.#host)
    this.#runs.set(name, run)
    this.#store()
    run.start()
  }

  async #end(name: string): Promise<{ killed: boolean }> {
    const run = this.#runs.get(name)
    if (!run) return { killed: false }
    this.#runs.delete(name)
    if (this.#serving === name) this.#serving = null
    this.#store()
    const ended = await run.end()
    this.#sockets.keepOnly([...this.#runs.values()].flatMap(({ service }) => service.sockets ?? []))
    return ended
  }

  async #endAll(): Promise<{ killed: boolean }> {
    const ends = await Promise.all([...this.#runs.keys()].map((name) => this.#end(name)))
    return { killed: ends.some(({ killed }) => killed) }
  }

  /** Goes on with the instances of a keeper that was killed; starts those that ended meanwhile. */
  async #restore(): Promise<void> {
    const stored = this.#stored()
    const sameBoot = stored.boot === undefined || stored.boot === bootId()
    const alive = new Set<number>()
    for (const { name, serving, service, instances } of stored.runs) {
      for (const instance of instances) {
        if (
          sameBoot &&
          instance.pid !== null &&
          instance.startTicks !== null &&
          startTicks(instance.pid) === instance.startTicks
        )
          alive.add(instance.pid)
        else {
          if (instance.pid !== null) instance.restarts++
          instance.pid = null
          instance.startTicks = null
        }
      }
      // After a boot of the machine there is nothing to be beside.
      if (!serving && !sameBoot) continue
      this.#runs.set(name, new KeptRun(service, instances, this.#host))
      if (serving) this.#serving = name
    }
    // Instances that were started and not yet written down, and children of those that ended: they would hold the port.
    const { stopSignal = 'SIGTERM', stopTimeout = leftBehindGrace } = stored.runs[0]?.service ?? {}
    const leftBehind = [...groupsWritingTo(this.#log)].filter((group) => !alive.has(group))
    await Promise.all(
      leftBehind.map((group) =>
        endGroup(group, stopSignal as NodeJS.Signals, stopTimeout).catch((error: unknown) =>
          this.#note(`cannot end the process group ${group}: ${(error as Error).message}`),
        ),
      ),
    )
    if (alive.size === 0)
      for (const { service } of this.#runs.values())
        await this.#sockets.hold(service.sockets ?? []).catch((error: unknown) => this.#note((error as Error).message))
    for (const run of this.#runs.values()) run.resume()
    if (this.#runs.size > 0) this.#store()
  }

  #stored(): z.infer<typeof storedSchema> {
    try {
      const value: unknown = JSON.parse(readFileSync(join(this.#directory, 'keeper.json'), 'utf8'))
      const former = formerSchema.safeParse(value)
      if (!former.success) return storedSchema.parse(value)
      const { service, instances, boot } = former.data
      return {
        runs: service === null ? [] : [{ name: main, serving: true, service, instances }],
        ...(boot !== undefined && { boot }),
      }
    } catch {
      return { runs: [] }
    }
  }

  #states(): KeptRunState[] {
    return [...this.#runs].map(([name, { service, instances }]) => ({
      name,
      serving: name === this.#serving,
      service,
      instances,
    }))
  }

  get #host(): RunHost {
    return {
      log: this.#log,
      // A socket that went with a killed keeper cannot be had again while a process listens on it.
      socketsFor: (service) => {
        const descriptors = (service.sockets ?? []).map((socket) => this.#sockets.descriptor(socket))
        if (!descriptors.includes(null)) return descriptors as number[]
        void this.#sockets.hold(service.sockets!).catch(() => {})
        throw new Error(
          'the listening socket went with a keeper that was killed; it is made again once nobody listens there',
        )
      },
      changed: () => this.#store(),
      exited: (pid, code, signal) => {
        for (const client of this.#clients) send(client, { event: 'exit', pid, code, signal })
      },
      note: (text) => this.#note(text),
    }
  }

  /** Where the disk is full, the instances go on and the state is written later. */
  #store(): void {
    const path = join(this.#directory, 'keeper.json')
    try {
      writeFileSync(
        `${path}.new`,
        JSON.stringify({ runs: this.#states(), boot: bootId() } satisfies z.infer<typeof storedSchema>),
        { mode: 0o600 },
      )
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
