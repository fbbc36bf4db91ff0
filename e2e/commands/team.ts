import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePorts } from '../world.ts'
import type { Connection } from '../../src/cli/connect.ts'
import { overSocket } from '../../src/cli/socket-client.ts'

const top = fileURLToPath(new URL('../..', import.meta.url))
/** The program as a person runs it, without the set-up of packages that bin/dploy does first. */
export const program = join(top, 'src/cli/main.ts')

export interface Ended {
  code: number | null
  stdout: Buffer
  stderr: string
}

/** A control plane and agents, each a process with a directory of its own on this machine. Needs no root and no network. */
export class Team implements AsyncDisposable {
  readonly directory: string
  readonly names: string[]
  /** Where agents and clients with a token connect. */
  readonly url: string
  readonly agents: ChildProcess[] = []
  readonly #connection: Connection
  /** What `dploy serve` is told beside its address. */
  readonly #serve: readonly string[]
  #control: ChildProcess | null = null

  private constructor(
    directory: string,
    names: string[],
    port: number,
    connection: Connection,
    serve: readonly string[],
  ) {
    this.directory = directory
    this.names = names
    this.url = `http://127.0.0.1:${port}`
    this.#connection = connection
    this.#serve = serve
  }

  /** `tags` of each server by its index; `serve`: options of `dploy serve`. */
  static async up(options: {
    servers: number
    serve?: readonly string[]
    tags?: (index: number) => Record<string, string>
  }): Promise<Team> {
    const directory = mkdtempSync(join(tmpdir(), 'dploy-team-'))
    const names = Array.from({ length: options.servers }, (_, index) => `web${index + 1}`)
    writeFileSync(
      join(directory, 'dploy.yml'),
      JSON.stringify({
        application: 'shop',
        service: { command: 'node server.mjs', port: 3000 },
        environments: {
          production: {
            branch: 'main',
            servers: names.map((name, index) => ({ name, tags: options.tags?.(index) ?? {} })),
          },
        },
      }),
    )
    const [port] = await freePorts(1)
    const team = new Team(
      directory,
      names,
      port!,
      overSocket(join(directory, '.dploy/control.sock')),
      options.serve ?? [],
    )
    try {
      await team.startControl()
      await team.#startAgents()
      return team
    } catch (error) {
      await team[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Resolves when it answers. */
  async startControl(): Promise<void> {
    const log = openSync(this.controlLog, 'a')
    // Tethered, so that nothing is left when the tests are killed.
    const args = [
      join(top, 'src/cli/demo/tether.ts'),
      process.execPath,
      program,
      'serve',
      '--listen',
      new URL(this.url).host,
      '--json',
      ...this.#serve,
    ]
    const control = spawn(process.execPath, args, { cwd: this.directory, stdio: ['pipe', 'pipe', log], detached: true })
    closeSync(log)
    this.#control = control
    await Promise.race([
      once(createInterface({ input: control.stdout! }), 'line'),
      once(control, 'exit').then(() =>
        Promise.reject(new Error(`dploy serve ended:\n${readFileSync(this.controlLog, 'utf8')}`)),
      ),
    ])
  }

  /** kill -9 of the control plane. */
  async killControl(): Promise<void> {
    const exit = once(this.#control!, 'exit')
    process.kill(this.controlPid, 'SIGKILL')
    await exit
  }

  get controlLog(): string {
    return join(this.directory, 'control.log')
  }

  /** Starts `dploy` against this control plane. */
  start(...args: string[]): ChildProcess {
    return spawn(process.execPath, [program, ...args], {
      cwd: this.directory,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: this.environment,
    })
  }

  get environment(): NodeJS.ProcessEnv {
    return { ...process.env, DPLOY_URL: '', NO_COLOR: '1', XDG_RUNTIME_DIR: this.directory }
  }

  async dploy(...args: string[]): Promise<Ended> {
    return ended(this.start(...args))
  }

  get client() {
    return this.#connection.client
  }

  /** Process id of the control plane itself. */
  get controlPid(): number {
    return Number(readFileSync(`/proc/${this.#control!.pid}/task/${this.#control!.pid}/children`, 'utf8').trim())
  }

  /** Where a server's files are: what is `/` to its agent's releases. */
  root(name: string): string {
    return join(this.directory, name)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection[Symbol.asyncDispose]()
    await Promise.all(
      [...this.agents, this.#control].map(async (child) => {
        if (child === null || child.exitCode !== null || child.signalCode !== null) return
        const exit = once(child, 'exit')
        child.stdin!.end()
        const timer = setTimeout(() => child.kill('SIGKILL'), 8_000)
        await exit
        clearTimeout(timer)
      }),
    )
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 })
  }

  /** Ends an agent, does something meanwhile, and starts it again over its state. */
  async restartAgent(index: number, meanwhile: () => Promise<void>): Promise<void> {
    const agent = this.agents[index]!
    const exit = once(agent, 'exit')
    agent.kill('SIGKILL')
    await exit
    try {
      await meanwhile()
    } finally {
      this.agents[index] = this.#startAgent(this.names[index]!, {})
    }
  }

  async #startAgents(): Promise<void> {
    const { token } = await this.client.call('createJoinToken', { body: { note: 'test', uses: this.names.length } })
    for (const name of this.names) {
      mkdirSync(this.root(name))
      this.agents.push(this.#startAgent(name, { DPLOY_JOIN_TOKEN: token }))
    }
    await this.client.call('apply', {
      body: { text: readFileSync(join(this.directory, 'dploy.yml'), 'utf8'), base: this.directory },
    })
    await this.untilConnected(60_000)
  }

  #startAgent(name: string, env: Record<string, string>): ChildProcess {
    const root = this.root(name)
    const log = openSync(join(this.directory, `${name}.log`), 'a')
    const args = [
      join(top, 'src/agent/main.ts'),
      'run',
      '--name',
      name,
      '--state',
      join(root, 'var/lib/dploy'),
      '--root',
      root,
      '--join',
      this.url,
      '--tethered',
    ]
    const agent = spawn(process.execPath, args, {
      stdio: ['pipe', log, log],
      env: { ...process.env, ...env },
      detached: true,
    })
    closeSync(log)
    return agent
  }

  /** Waits until every agent is connected. Throws after `patience` milliseconds. */
  async untilConnected(patience: number): Promise<void> {
    for (const deadline = Date.now() + patience; ; await delay(50)) {
      const { servers } = await this.client.call('status', {
        params: { application: 'shop', environment: 'production' },
      })
      const absent = servers.filter((server) => !server.connected).map((server) => server.name)
      if (absent.length === 0) return
      if (Date.now() > deadline) throw new Error(`not connected after ${patience} ms: ${absent.join(', ')}`)
    }
  }
}

export async function ended(child: ChildProcess): Promise<Ended> {
  const stdout: Buffer[] = []
  let stderr = ''
  child.stdout!.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout: Buffer.concat(stdout), stderr }
}

/** Memory of a process now, in bytes (proc_pid_status(5)); `VmHWM`: the most it ever had. 0: it has ended, and nobody has asked for its exit code yet. */
export function memoryOf(pid: number, what: 'VmRSS' | 'VmHWM' = 'VmRSS'): number {
  return (
    Number(new RegExp(`^${what}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
  )
}
