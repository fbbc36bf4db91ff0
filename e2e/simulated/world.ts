import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Plane } from '../api/plane.ts'
import { freePorts } from '../world.ts'
import type { Pace } from './server.ts'

const run = promisify(execFile)

/** What the process of the servers says every second. */
export interface Said {
  connected: number
  commands: number
  lines: number
  heap: number
}

/** A real control plane, a repository, and one process that stands for many servers. */
export class SimulatedWorld implements AsyncDisposable {
  readonly plane: Plane
  readonly params = { application: 'shop', environment: 'production' }
  readonly repository: string
  said: Said = { connected: 0, commands: 0, lines: 0, heap: 0 }
  #servers: ChildProcess | null = null

  private constructor(plane: Plane) {
    this.plane = plane
    this.repository = join(plane.directory, 'repository')
  }

  static async up(options: {
    servers: number
    pace: Pace
    strategy: Record<string, unknown>
  }): Promise<SimulatedWorld> {
    const world = new SimulatedWorld(await Plane.up())
    try {
      await world.#begin(options)
      return world
    } catch (error) {
      await world[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Commits a change and asks for its deployment. Answers the deployment's number. */
  async deploy(text: string): Promise<number> {
    writeFileSync(join(this.repository, 'greeting.txt'), `${text}\n`)
    await this.#git('add', '--all')
    await this.#git('commit', '--quiet', '--message', text)
    return (await this.plane.client.call('deploy', { params: this.params, body: {} })).number
  }

  /** The next commands take so long. */
  setPace(pace: Pace): void {
    this.#servers!.stdin!.write(`${JSON.stringify(pace)}\n`)
  }

  /** Waits for the end of a deployment. Answers its state, and why it failed. */
  async over(number: number): Promise<string> {
    for (;;) {
      const { state, failure } = await this.plane.client.call('deploymentSummary', { params: { number } })
      if (['succeeded', 'failed', 'rolled_back', 'cancelled'].includes(state))
        return failure === null ? state : `${state}: ${failure.message}`
      await delay(100)
    }
  }

  /** An API token that may do everything. */
  async token(): Promise<string> {
    return (await this.plane.client.call('createToken', { body: { note: 'simulated', right: 'administer' } })).token
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#servers
    if (child && child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit')
      child.stdin!.end()
      const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
      await exit
      clearTimeout(timer)
    }
    await this.plane[Symbol.asyncDispose]()
  }

  async #begin({
    servers,
    pace,
    strategy,
  }: {
    servers: number
    pace: Pace
    strategy: Record<string, unknown>
  }): Promise<void> {
    const [port] = await freePorts(1)
    const names = Array.from({ length: servers }, (_, index) => `web${index + 1}`)
    const config = {
      application: 'shop',
      source: { repository: this.repository },
      service: { command: 'node server.mjs', port: 3000 },
      environments: {
        production: { branch: 'main', servers: names, strategy, probe: { url: `http://127.0.0.1:${port}/` } },
      },
    }
    mkdirSync(this.repository)
    await run('git', ['init', '--quiet', '--initial-branch', 'main', this.repository])
    writeFileSync(
      join(this.repository, 'server.mjs'),
      "import { createServer } from 'node:http'\ncreateServer((_, response) => response.end('ok')).listen(process.env.PORT)\n",
    )
    const { client } = this.plane
    await client.call('apply', { body: { text: JSON.stringify(config), base: this.repository } })
    const { token } = await client.call('createJoinToken', { body: { note: 'simulated', uses: servers } })
    // Bounded: a thousand connections and their buffers take some 150 MB.
    const child = spawn(
      process.execPath,
      [
        '--max-old-space-size=512',
        join(import.meta.dirname, 'servers-process.ts'),
        '--control',
        this.plane.url,
        '--count',
        String(servers),
        '--pace',
        JSON.stringify(pace),
        '--port',
        String(port),
      ],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
        env: { ...process.env, DPLOY_JOIN_TOKEN: token },
      },
    )
    this.#servers = child
    const first = Promise.withResolvers<void>()
    child.once('exit', (code) => first.reject(new Error(`the simulated servers ended with ${code}`)))
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.said = { ...this.said, ...(JSON.parse(line) as Said) }
      first.resolve()
    })
    await first.promise
  }

  async #git(...args: string[]): Promise<void> {
    await run('git', [
      '-C',
      this.repository,
      '-c',
      'user.name=Anna',
      '-c',
      'user.email=anna@localhost',
      '-c',
      'commit.gpgsign=false',
      '-c',
      'core.hooksPath=/dev/null',
      ...args,
    ])
  }
}
