import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { PassThrough } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { DployError } from '../protocol/errors.ts'
import type { Carrier } from '../protocol/peer.ts'
import { streamCarrier } from '../protocol/stream-carrier.ts'
import { agentBundle } from './agent-bundle.ts'
import { bootstrapCommand, readBootstrapLine, type Access } from './bootstrap.ts'
import { destinationArguments, readDestination, typedDestination, type Destination } from './destination.ts'
import { EarlyStream } from './early-stream.ts'
import { needsPerson, needsVerbose, sshFailure } from './failure.ts'
import { Greeting } from './greeting.ts'
import { LineReader } from './line-reader.ts'
import { Limiter } from './limiter.ts'
import { environment, startSsh } from './running.ts'
import { WaitingAgents, type AgentStreams } from './waiting-agents.ts'
import { Placing, type PlacingOptions } from './placing.ts'
import { personConfig, type PersonConfig } from './person-config.ts'

export interface SshOptions extends PlacingOptions {
  /** Instead of the person's ~/.ssh/config. */
  configFile?: string | null
  /** How long a server may say nothing, its login included. Milliseconds; by default a minute. */
  silence?: number
  /** Whether a person at a terminal can answer ssh's questions. */
  interactive?: boolean | undefined
  /** Told before ssh may ask something there, and once it was answered. */
  onQuestion?: ((open: boolean) => void) | undefined
  /** How long agents wait for the next command of this machine. Seconds; 0: they end with this one. */
  wait?: number | undefined
}

/** A server as dploy.yml names it. */
export interface SshServer {
  name: string
  address: string | null
}

/** An agent that was started through ssh. */
export interface SshAgent {
  user: string
  access: Access
  /** What sudo said when it refused; null where it was not needed, or granted. */
  refusal: string | null
  /** Resolves once its streams have ended. */
  ended: Promise<unknown>
}

/** How long sshd may take to answer. Seconds; the person's own ConnectTimeout wins. */
const connectTimeout = 10
/** At most so many logins at a time, and so many milliseconds between two beginnings. */
const logins = new Limiter(6, 25)

/** How long to wait before a login is tried again that sshd had no room for. Milliseconds. */
const patience = [500, 1_500]
/** The last question that a person was asked at the terminal. */
let asking: Promise<unknown> = Promise.resolve()

interface Begun {
  carrier: Carrier
  agent: Promise<SshAgent>
}

interface Attempt {
  server: SshServer
  destination: Destination
  config: PersonConfig
  bundle: ReturnType<typeof agentBundle>
  streams: AgentStreams
}

/** Reaches servers with the person's own ssh program, so that whatever works by hand works here. */
export class Ssh implements AsyncDisposable {
  readonly #options: SshOptions
  readonly #children = new Set<ChildProcess>()
  readonly #ahead = new Map<string, Begun & { stop: AbortController }>()
  /** Connections about which a person was asked in vain: one command asks for a server several times, and a person answers once. */
  readonly #declined = new Set<string>()
  readonly #waiting: WaitingAgents
  #bundle: ReturnType<typeof agentBundle> | null = null

  constructor(options: SshOptions = {}) {
    this.#options = options
    this.#waiting = new WaitingAgents(options.wait)
  }

  /**
   * Starts the agent on a server, placing it and its runtime there first where they are missing. Frames may be sent at
   * once, which saves a round trip. `agent` rejects as `sshFailure` says; the carrier ends then.
   */
  connect(server: SshServer, signal: AbortSignal): Begun {
    const key = `${server.name} ${server.address ?? ''}`
    const begun = this.#ahead.get(key)
    this.#ahead.delete(key)
    if (begun) signal.addEventListener('abort', () => begun.stop.abort(signal.reason), { once: true })
    return begun ?? this.#begin(server, signal)
  }

  /** Begins to connect to servers that will be asked for in a moment. Resolves once ssh runs for those that need not log in. */
  async ahead(servers: readonly SshServer[]): Promise<void> {
    const begun = servers.map((server) => {
      const stop = new AbortController()
      const begin = this.#begin(server, stop.signal)
      this.#ahead.set(`${server.name} ${server.address ?? ''}`, { ...begin, stop })
      return begin.underWay
    })
    await Promise.all(begun)
  }

  /** The command is over: agents whose carriers end from now on may wait for the next one. */
  part(): void {
    this.#waiting.part()
  }

  #begin(server: SshServer, signal: AbortSignal): Begun & { underWay: Promise<void> } {
    const streams: AgentStreams = {
      incoming: new PassThrough(),
      outgoing: new EarlyStream((target) => this.#waiting.end(streams, target)),
      kept: null,
    }
    const underWay = Promise.withResolvers<void>()
    const agent = this.#start(server, streams, signal, underWay.resolve)
    agent.catch(() => streams.incoming.end()).finally(underWay.resolve)
    return { carrier: streamCarrier(streams.incoming, streams.outgoing), agent, underWay: underWay.promise }
  }

  async #start(
    server: SshServer,
    streams: AgentStreams,
    signal: AbortSignal,
    onUnderWay: () => void,
  ): Promise<SshAgent> {
    const destination = readDestination(server.address ?? server.name)
    const waiting = this.#waiting.find(this.#aliasOf(server))
    // What is asked of ssh is whether the configuration still leads there, while the agent is spoken to.
    const resuming = waiting && this.#waiting.speak(waiting, streams, signal)
    if (waiting) onUnderWay()
    const config = await personConfig(destination, this.#configFile).catch((error: unknown) => {
      waiting?.streams.close()
      throw error
    })
    const bundle = (this.#bundle ??= agentBundle())
    if (
      waiting &&
      resuming &&
      (await this.#waiting.settle(waiting, resuming, keyOf(config, (await bundle).sha256), streams))
    ) {
      return {
        user: waiting.user,
        access: waiting.access,
        refusal: waiting.refusal,
        ended: once(waiting.streams.stdout, 'close'),
      }
    }
    signal.throwIfAborted()
    let asked = false
    for (let attempt = 0; ; attempt++) {
      const open = await isOpen(config.controlPath)
      if (!open) onUnderWay()
      const endTurn = open ? () => {} : await logins.turn(signal)
      try {
        const run = this.#run({ server, destination, config, bundle, streams }, signal, endTurn)
        void bundle.then(onUnderWay, onUnderWay)
        return await run
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof DployError)) throw error
        if (error.code === 'ssh.closed_early' && attempt < patience.length)
          await delay(patience[attempt]! * (1 + Math.random()), undefined, { signal })
        else if (
          !this.#options.interactive ||
          !needsPerson(error) ||
          asked ||
          this.#declined.has(config.controlPath) ||
          !(await this.#logIn(destination, config))
        )
          throw error
        else asked = true
      } finally {
        endTurn()
      }
    }
  }

  /** Runs a command line there with something to read, over the shared connection. Throws as `sshFailure` says. */
  async run(
    server: SshServer,
    commandLine: string,
    input: string,
    signal: AbortSignal,
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    const destination = readDestination(server.address ?? server.name)
    const config = await personConfig(destination, this.#configFile)
    const child = spawn(
      'ssh',
      [...this.#arguments(destination, ['-o', 'BatchMode=yes', ...config.sharing]), commandLine],
      { stdio: ['pipe', 'pipe', 'pipe'], detached: true, env: environment() },
    )
    this.#children.add(child)
    const abort = () => child.kill()
    signal.addEventListener('abort', abort, { once: true })
    const said = { stdout: '', stderr: '' }
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream].on('data', (chunk: Buffer) => (said[stream] = (said[stream] + chunk.toString()).slice(-20_000)))
    child.stdin.on('error', () => {}).end(input)
    try {
      const [code] = (await once(child, 'close')) as [number | null]
      signal.throwIfAborted()
      if (code === 255 || code === null)
        throw sshFailure({ stderr: said.stderr, code, destination, server: server.name, resolved: config })
      return { code, ...said }
    } finally {
      signal.removeEventListener('abort', abort)
      this.#children.delete(child)
    }
  }

  /** Ends what it started, giving agents a moment to finish, or leaves them for the next command. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of await this.#waiting.leave()) {
      child.unref()
      this.#children.delete(child)
    }
    for (const { stop } of this.#ahead.values()) stop.abort(new DployError('connection.closed', 'Nobody asked for it'))
    const ends = [...this.#children].map((child) => once(child, 'exit'))
    const limit = setTimeout(() => this.kill(), 3_000)
    await Promise.all(ends)
    clearTimeout(limit)
  }

  /** Ends what it started, at once. */
  kill(): void {
    for (const child of this.#children) child.kill('SIGKILL')
  }

  /** What it reads in place of ~/.ssh/config; null: nothing else. */
  get configFile(): string | null {
    return this.#configFile
  }

  #aliasOf(server: SshServer): string {
    return `${this.#configFile ?? ''} ${server.address ?? server.name}`
  }

  get #configFile(): string | null {
    return this.#options.configFile || null
  }

  /** The arguments of ssh up to the command that it is to run. */
  #arguments(destination: Destination, options: string[]): string[] {
    return [
      ...(this.#configFile === null ? [] : ['-F', this.#configFile]),
      '-T',
      '-o',
      'LogLevel=INFO',
      '-o',
      `ConnectTimeout=${connectTimeout}`,
      '-o',
      'ServerAliveInterval=5',
      '-o',
      'ServerAliveCountMax=3',
      '-o',
      'RemoteCommand=none',
      '-o',
      'ClearAllForwardings=yes',
      ...options,
      ...destinationArguments(destination),
    ]
  }

  /** Opens the shared connection while the person answers what ssh asks for, one server after the other. */
  #logIn(destination: Destination, config: PersonConfig): Promise<boolean> {
    const asked = asking.then(async () => {
      if (await isOpen(config.controlPath)) return true
      const child = spawn('ssh', [...this.#arguments(destination, config.sharing), 'exit 0'], {
        stdio: ['inherit', 'ignore', 'inherit'],
      })
      this.#options.onQuestion?.(true)
      const [code] = (await once(child, 'exit').finally(() => this.#options.onQuestion?.(false))) as [number | null]
      if (code !== 0) this.#declined.add(config.controlPath)
      return code === 0
    })
    asking = asked.catch(() => {})
    return asked
  }

  /** What ssh says of itself with -v, where what it said is not enough. */
  async #explain(destination: Destination, stderr: string): Promise<string> {
    if (!needsVerbose(stderr)) return stderr
    const args = this.#arguments(destination, ['-v', '-o', 'BatchMode=yes', '-o', 'ControlPath=none'])
    return new Promise((resolve) => {
      execFile(
        'ssh',
        [...args, 'exit 0'],
        { env: environment(), timeout: connectTimeout * 1000, maxBuffer: 1024 * 1024 },
        (error, _stdout, verbose) => resolve(error && verbose !== '' ? verbose : stderr),
      )
    })
  }

  async #run(
    { server, destination, config, bundle, streams }: Attempt,
    signal: AbortSignal,
    onLogin: () => void,
  ): Promise<SshAgent> {
    const args = [
      ...this.#arguments(destination, ['-o', 'BatchMode=yes', ...config.sharing]),
      bootstrapCommand((await bundle).sha256),
    ]
    const pipes = await this.#waiting.pipes()
    signal.throwIfAborted()
    const running = startSsh(args, pipes)
    const { child, stdin, stdout, lasting } = running
    this.#children.add(child)
    const ended = once(child, 'exit').then(
      () => void this.#children.delete(child),
      () => void this.#children.delete(child),
    )
    stdin.on('error', () => {})
    streams.outgoing.attach(stdin)
    const abort = () => child.kill()
    signal.addEventListener('abort', abort, { once: true })
    const placing = new Placing({
      server: server.name,
      destination,
      stdin,
      bundle: await bundle,
      signal,
      ...this.#options,
    })
    let refusal: string | null = null
    let placed = false
    try {
      using greeting = new Greeting(child, this.#options.silence)
      const lines = new LineReader(stdout)
      for (;;) {
        const text = await lines.next()
        if (text === null) {
          if (lines.overlong) greeting.take(null, false)
          await ended
          signal.throwIfAborted()
          if (greeting.problem !== null)
            throw new DployError('ssh.failed', `${config.hostname} ${greeting.problem}`, {
              where: server.name,
              fix: `Try by hand: ssh ${typedDestination(destination, this.#configFile)} true`,
            })
          const code = child.exitCode ?? child.signalCode
          const stderr = running.complaints()
          throw sshFailure({
            stderr: code === 255 ? await this.#explain(destination, stderr) : stderr,
            code,
            destination,
            server: server.name,
            resolved: config,
          })
        }
        onLogin()
        const line = readBootstrapLine(text)
        greeting.take(text, line !== null)
        if (line?.kind === 'ready') {
          streams.outgoing.settle(placed)
          lines.rest().pipe(streams.incoming)
          const agent = { user: line.user, access: line.access, refusal }
          if (lasting)
            this.#waiting.started(
              { key: keyOf(config, (await bundle).sha256), alias: this.#aliasOf(server), streams: lasting, ...agent },
              child,
              streams,
            )
          return { ...agent, ended }
        }
        if (line?.kind === 'sudo') refusal = line.why
        else if (line) {
          streams.outgoing.hold()
          // Ends what the script swallows of the agent's first frame.
          if (!placed) stdin.write('\n')
          placed = true
          await placing.answer(line, running.complaints())
        }
      }
    } catch (error) {
      child.kill()
      throw error
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }
}

function keyOf({ digest }: PersonConfig, bundle: string): string {
  return `${digest} ${bundle}`
}

/** Whether a connection is open that others may share. */
function isOpen(controlPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(controlPath)
    probe.once('connect', () => (probe.destroy(), resolve(true)))
    probe.once('error', () => resolve(false))
  })
}
