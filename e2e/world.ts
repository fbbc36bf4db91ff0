import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Fleet, type Server } from './fleet/fleet.ts'

const run = promisify(execFile)
const top = fileURLToPath(new URL('..', import.meta.url))
/** The program as a person runs it. */
const program = join(top, 'bin/dploy')

export interface WorldOptions {
  servers: number
  /** Lines below `service:` and further keys of dploy.yml, with `environments:` left out. */
  strategy?: Record<string, unknown>
  service?: Record<string, unknown>
  extra?: Record<string, unknown>
  /** Keys of the environment, such as another balancer and its probe. */
  environment?: Record<string, unknown>
  port?: number
  /** No control plane and no agents: `dploy` reaches the servers by ssh, as this user. */
  ssh?: 'root' | 'deploy' | 'plain'
  /** HAProxy logs its requests by UDP to this port of this machine. */
  log?: number
  /** More sections for HAProxy's configuration, such as another frontend: its servers are given. */
  haproxy?: (servers: readonly Server[]) => string
}

/** The last line of `--json`, and all events before it. */
export interface Outcome {
  code: number | null
  result: {
    state: string
    deployment?: number
    seconds: number
    failure: { code: string; message: string; fix: string; where?: string } | null
    receipt: Receipt | null
  }
  events: { data: { kind: string; state?: string; text?: string; phase?: string }; server: string | null; at: number }[]
  stderr: string
}
interface Receipt {
  startedAt: number
  finishedAt: number
  seconds: number
  overheadMs: number
  floor: { ms: number; parts: Record<string, number> }
  waiting: { ms: number; parts: Record<string, number> }
  bytes: number
  phases: { name: string; start: number; end: number }[]
  servers: {
    name: string
    outcome: string
    bytes: number
    objects: number
    spans: { name: string; start: number; end: number }[]
  }[]
  traffic: {
    seen: number
    failed: number
    stalled: number
    balancer: { requests: number; serverErrors: number } | null
  }
}

/** Everything that a team has: servers with agents, HAProxy before them, a control plane, a repository with a dploy.yml. */
export class World implements AsyncDisposable {
  readonly fleet: Fleet
  readonly directory: string
  readonly repository: string
  /** Where users ask. */
  readonly url: string
  readonly #options: WorldOptions
  readonly #haproxyPort: number
  readonly #controlPort: number
  #haproxy: ChildProcess | null = null
  #control: ChildProcess | null = null

  private constructor(fleet: Fleet, directory: string, ports: number[], options: WorldOptions) {
    this.fleet = fleet
    this.directory = directory
    this.repository = join(directory, 'shop')
    this.#haproxyPort = ports[0]!
    this.#controlPort = ports[1]!
    this.#options = options
    this.url = `http://127.0.0.1:${this.#haproxyPort}/`
  }

  static async up(options: WorldOptions): Promise<World> {
    const directory = mkdtempSync(join(tmpdir(), 'dploy-world-'))
    let fleet: Fleet | null = null
    try {
      await run(process.execPath, [join(top, 'src/bundle.ts')])
      if (options.ssh) {
        fleet = await Fleet.up({
          servers: options.servers,
          name: 'world',
          bind: { '/opt/dploy/node': process.execPath },
        })
        const world = new World(fleet, directory, await freePorts(2), options)
        if (options.ssh !== 'root')
          await Promise.all(fleet.servers.map((server) => addUser(server, fleet!, options.ssh as 'deploy' | 'plain')))
        await world.#makeRepository()
        await world.startHaproxy()
        return world
      }
      fleet = await Fleet.up({
        servers: options.servers,
        name: 'world',
        bind: { '/opt/dploy/node': process.execPath, '/opt/dploy/agent.mjs': join(top, 'dist/agent.mjs') },
      })
      const world = new World(fleet, directory, await freePorts(2), options)
      await world.#makeRepository()
      await Promise.all([world.startHaproxy(), world.startControl()])
      await world.#installAgents()
      return world
    } catch (error) {
      await fleet?.[Symbol.asyncDispose]()
      rmSync(directory, { recursive: true, force: true })
      throw error
    }
  }

  get servers(): Server[] {
    return this.fleet.servers
  }

  /** Writes files of the application and commits them. Answers the commit. */
  async commit(files: Record<string, string>, message: string): Promise<string> {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(join(this.repository, path, '..'), { recursive: true })
      writeFileSync(join(this.repository, path), content)
    }
    await this.git('add', '--all')
    await this.git(
      '-c',
      'user.name=Anna',
      '-c',
      'user.email=anna@example.org',
      'commit',
      '--quiet',
      '--allow-empty',
      '--message',
      message,
    )
    return (await this.git('rev-parse', 'HEAD')).trim()
  }

  async git(...args: string[]): Promise<string> {
    return (
      await run('git', ['-C', this.repository, ...args], { env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null' } })
    ).stdout
  }

  /** Runs `dploy` in the repository and answers what came of it. */
  dploy(...args: string[]): Promise<Outcome> {
    return this.start(...args).outcome
  }

  /** The environment of everything that `dploy` runs; shared connections are in a directory of this world. */
  get environment(): NodeJS.ProcessEnv {
    const ssh = {
      DPLOY_SSH_CONFIG: this.fleet.sshConfig,
      XDG_RUNTIME_DIR: this.directory,
      XDG_CACHE_HOME: process.env['XDG_CACHE_HOME'] ?? join(this.directory, 'cache'),
      DPLOY_RUNTIME_URL: 'none',
    }
    return { ...process.env, DPLOY_URL: '', ...(this.#options.ssh ? ssh : {}) }
  }

  /** Another person's clone of the repository, with a control plane of its own; a function that runs `dploy` there. */
  async clone(name: string): Promise<{
    directory: string
    start: (...args: string[]) => ReturnType<World['startIn']>
    pull: () => Promise<void>
  }> {
    const directory = join(this.directory, name)
    await run('git', ['clone', '--quiet', this.repository, directory])
    return {
      directory,
      start: (...args) => this.startIn(directory, args),
      pull: async () => void (await run('git', ['-C', directory, 'pull', '--quiet', '--ff-only'])),
    }
  }

  /** Starts `dploy` with --json; its events can be waited for while it runs. */
  start(...args: string[]): ReturnType<World['startIn']> {
    return this.startIn(this.repository, args)
  }

  startIn(
    directory: string,
    args: string[],
    env: NodeJS.ProcessEnv = {},
  ): {
    outcome: Promise<Outcome>
    until(match: (event: Outcome['events'][number]) => boolean): Promise<void>
    process: ChildProcess
  } {
    const child = spawn(program, [...args, '--json'], {
      cwd: directory,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...this.environment, ...env },
    })
    const events: Outcome['events'] = []
    const waiting: { match: (event: Outcome['events'][number]) => boolean; resolve(): void }[] = []
    let result: Outcome['result'] | null = null
    let stderr = ''
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    createInterface({ input: child.stdout }).on('line', (line) => {
      const value = JSON.parse(line) as { type: string }
      if (value.type === 'result') result = value as unknown as Outcome['result']
      if (value.type !== 'event') return
      const event = value as unknown as Outcome['events'][number]
      events.push(event)
      for (const one of waiting.splice(0)) {
        if (one.match(event)) one.resolve()
        else waiting.push(one)
      }
    })
    const outcome = once(child, 'close').then(([code]): Outcome => {
      if (!result) throw new Error(`dploy ${args.join(' ')} ended with code ${String(code)} and no result:\n${stderr}`)
      return { code: code as number | null, result, events, stderr }
    })
    outcome.catch(() => {})
    return {
      process: child,
      outcome,
      until: (match) =>
        Promise.race([
          new Promise<void>((resolve) => (events.some(match) ? resolve() : waiting.push({ match, resolve }))),
          outcome.then(({ stderr, result }) =>
            Promise.reject(
              new Error(`dploy ended before what was waited for: ${JSON.stringify(result?.failure)} ${stderr}`),
            ),
          ),
        ]),
    }
  }

  /** What a command that only shows something prints with --json. */
  async show(...args: string[]): Promise<unknown> {
    const { stdout } = await run(program, [...args, '--json'], { cwd: this.repository, env: { ...this.environment } })
    return JSON.parse(stdout)
  }

  /** Each server's answer to `path`, asked directly. */
  async answers(path = '/'): Promise<string[]> {
    return Promise.all(
      this.servers.map(async (server) => {
        try {
          return await (
            await fetch(`http://${server.address}:${this.port}${path}`, {
              signal: AbortSignal.timeout(5_000),
              headers: { connection: 'close' },
            })
          ).text()
        } catch (error) {
          return `no answer: ${(error as Error).message}`
        }
      }),
    )
  }

  get port(): number {
    return this.#options.port ?? 3000
  }

  /** The process of the control plane. */
  get controlPid(): number {
    return this.#control!.pid!
  }

  /** The process of HAProxy. */
  get haproxyPid(): number {
    return this.#haproxy!.pid!
  }

  /** `more`: further options of dploy serve; `env`: further variables. */
  async startControl(more: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<void> {
    const log = join(this.directory, 'control.log')
    const child = spawn(
      program,
      [
        'serve',
        '--listen',
        `${this.fleet.hostAddress}:${this.#controlPort}`,
        '--data',
        join(this.repository, '.dploy'),
        '--json',
        ...more,
      ],
      { cwd: this.directory, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } },
    )
    this.#control = child
    child.stderr.on('data', (chunk: Buffer) => appendFileSync(log, chunk))
    await Promise.race([
      once(createInterface({ input: child.stdout }), 'line'),
      once(child, 'exit').then(() => Promise.reject(new Error(`dploy serve ended:\n${readFileSync(log, 'utf8')}`))),
    ])
  }

  /** kill -9 of the control plane. */
  async killControl(): Promise<void> {
    const child = this.#control!
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
  }

  /** Ends HAProxy at once and starts it again, from its configuration. */
  async restartHaproxy(): Promise<void> {
    await this.stopHaproxy()
    await this.startHaproxy()
  }

  /** Ends HAProxy at once. */
  async stopHaproxy(): Promise<void> {
    const child = this.#haproxy!
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
    rmSync(join(this.directory, 'haproxy.sock'), { force: true })
  }

  async startHaproxy(): Promise<void> {
    const config = join(this.directory, 'haproxy.cfg')
    const socket = join(this.directory, 'haproxy.sock')
    const servers = this.servers
      .map((server) => `  server ${server.name} ${server.address}:${this.port} check`)
      .join('\n')
    writeFileSync(
      config,
      `global
  stats socket ${socket} mode 600 level admin
${this.#options.log === undefined ? '' : `  log 127.0.0.1:${this.#options.log} len 4096 local0\n`}defaults
  mode http
${this.#options.log === undefined ? '' : '  log global\n  option httplog\n'}  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout queue 10s
  option redispatch 1
  retries 3
  retry-on conn-failure empty-response
frontend in
  bind 127.0.0.1:${this.#haproxyPort}
  default_backend shop
backend shop
  balance roundrobin
  http-request disable-l7-retry unless METH_GET || { req.hdr(idempotency-key) -m found }
  option httpchk GET /healthz
  default-server inter 1s fall 2 rise 1
${servers}
${this.#options.haproxy?.(this.servers) ?? ''}`,
    )
    this.#haproxy = spawn('/usr/sbin/haproxy', ['-db', '-f', config], { stdio: 'ignore' })
    for (let tries = 0; tries < 500; tries++) {
      if (
        await run('test', ['-S', socket]).then(
          () => true,
          () => false,
        )
      )
        return
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    throw new Error('HAProxy did not start')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of [this.#control, this.#haproxy]) {
      if (!child || child.exitCode !== null || child.signalCode !== null) continue
      const exit = once(child, 'exit')
      child.kill('SIGKILL')
      await exit
    }
    await this.closeConnections()
    await this.fleet[Symbol.asyncDispose]()
    rmSync(this.directory, { recursive: true, force: true })
  }

  /** Closes the ssh connections that are kept open for the next command, and ends the agents that wait for it. */
  async closeConnections(): Promise<void> {
    const sockets = join(this.directory, 'dploy')
    if (!existsSync(sockets)) return
    for (const { holder, path } of this.waitingAgents()) {
      // One whose time is up has ended by itself.
      if (existsSync(`/proc/${holder}`)) process.kill(holder)
      rmSync(path, { recursive: true })
    }
    for (const name of readdirSync(sockets).filter((name) => name !== 'agents'))
      await run('ssh', [
        '-F',
        this.fleet.sshConfig,
        '-o',
        `ControlPath=${join(sockets, name)}`,
        '-O',
        'exit',
        'web1',
      ]).catch(() => {})
  }

  /** Groups of agents that wait for the next command: what keeps each, and where it is. */
  waitingAgents(): { holder: number; path: string; agents: unknown[] }[] {
    const directory = join(this.directory, 'dploy/agents')
    const groups = existsSync(directory) ? readdirSync(directory).filter((name) => name.startsWith('free-')) : []
    return groups.flatMap((name) => {
      const path = join(directory, name)
      const group = JSON.parse(readFileSync(join(path, 'agents.json'), 'utf8')) as {
        holder: number
        until: number
        agents: unknown[]
      }
      return group.until > Date.now() ? [{ path, ...group }] : []
    })
  }

  /** Writes dploy.yml with these changes and commits it. JSON is YAML. */
  async configure(changes: Pick<WorldOptions, 'strategy' | 'service' | 'extra' | 'environment'> = {}): Promise<void> {
    const config = {
      application: 'shop',
      service: {
        command: '/opt/dploy/node server.mjs',
        port: this.port,
        health: { path: '/healthz', timeout: '10s' },
        ...this.#options.service,
        ...changes.service,
      },
      ...this.#options.extra,
      ...changes.extra,
      environments: {
        production: {
          branch: 'main',
          servers: this.servers.map(({ name, address }) => ({
            name,
            address: this.#options.ssh ? `${this.#options.ssh}@${name}` : address,
          })),
          balancer: {
            kind: 'haproxy',
            address: `unix:${join(this.directory, 'haproxy.sock')}`,
            backend: 'shop',
            ...(this.#options.log === undefined ? {} : { log: `udp:127.0.0.1:${this.#options.log}` }),
          },
          probe: this.url,
          ...this.#options.environment,
          ...changes.environment,
          strategy: { kind: 'rolling', batch: '25%', bake: '1s', ...this.#options.strategy, ...changes.strategy },
        },
      },
    }
    await this.commit({ 'dploy.yml': `${JSON.stringify(config, null, 2)}\n` }, 'Configure dploy')
  }

  async #makeRepository(): Promise<void> {
    mkdirSync(this.repository)
    await this.git('init', '--quiet', '--initial-branch=main')
    await this.commit(
      { 'server.mjs': readFileSync(join(top, 'e2e/applications/sample/server.mjs'), 'utf8'), 'version.txt': 'one\n' },
      'Begin',
    )
    await this.configure()
  }

  async #installAgents(): Promise<void> {
    const { token } = (await this.api('POST', '/api/v1/join-tokens', { uses: this.servers.length })) as {
      token: string
    }
    await Promise.all(
      this.servers.map(async (server) => {
        await server.write(
          '/etc/systemd/system/dploy-agent.service',
          `[Unit]
Description=dploy agent
After=network.target
[Service]
ExecStart=/opt/dploy/node /opt/dploy/agent.mjs run --name ${server.name} --join http://${this.fleet.hostAddress}:${this.#controlPort}
Environment=DPLOY_JOIN_TOKEN=${token}
Restart=always
RestartSec=200ms
KillMode=process
[Install]
WantedBy=multi-user.target
`,
        )
        const { code, stderr } = await server.exec('systemctl', ['enable', '--now', '--quiet', 'dploy-agent'])
        if (code !== 0) throw new Error(`the agent of ${server.name} does not start: ${stderr}`)
      }),
    )
  }

  /** Asks the control plane over its socket. */
  async api(method: string, path: string, body?: unknown): Promise<unknown> {
    const { request } = await import('node:http')
    return new Promise((resolve, reject) => {
      const asked = request(
        {
          socketPath: join(this.repository, '.dploy/control.sock'),
          method,
          path,
          headers: { 'content-type': 'application/json' },
        },
        (response) => {
          let text = ''
          response.on('data', (chunk: Buffer) => (text += chunk.toString()))
          response.on('end', () => (response.statusCode! < 300 ? resolve(JSON.parse(text)) : reject(new Error(text))))
        },
      )
      asked.on('error', reject)
      asked.end(body === undefined ? undefined : JSON.stringify(body))
    })
  }
}

/** A user who lets in the same key as root does; `deploy` may become root without a password, `plain` may not. */
async function addUser(server: Server, fleet: Fleet, user: 'deploy' | 'plain'): Promise<void> {
  await server.mustExec('useradd', ['--create-home', '--shell', '/bin/bash', user])
  if (user === 'deploy') await server.write('/etc/sudoers.d/deploy', 'deploy ALL=(ALL) NOPASSWD: ALL\n', 0o440)
  await server.write(
    `/home/${user}/.ssh/authorized_keys`,
    readFileSync(`${fleet.servers[0]!.ssh.identityFile}.pub`, 'utf8'),
  )
  await server.mustExec('chown', ['-R', `${user}:${user}`, `/home/${user}`])
}

export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      return server
    }),
  )
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
