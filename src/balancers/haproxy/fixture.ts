import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { delimiter, dirname, join } from 'node:path'
import { DployError } from '../../protocol/errors.ts'

export interface HaproxyFixture {
  /** Directory for its configuration; the control socket is made there too. */
  directory: string
  /** `HOST:PORT` on which it takes requests. */
  bind: string
  backend: string
  servers: { name: string; address: string; port: number }[]
  healthPath: string
  /** HAProxy's own time units. */
  checkInterval?: string
  /** Runs a program and ends it when its own standard input closes; without it HAProxy is a plain child. */
  tether?: { file: string; args: string[] } | undefined
  /** Another HAProxy binary than the one in PATH. */
  binary?: string
  /** Changes the text of the configuration. */
  configure?: (text: string) => string
  /** A master process that starts the worker and reloads, as systemd runs it. */
  masterWorker?: boolean
}

/** A HAProxy of one's own, for the demo, tests and benchmarks, with the settings that production should have. */
export interface RunningHaproxy extends AsyncDisposable {
  url: string
  /** For balancer.address in dploy.yml. */
  address: string
  /** Starts a new process that takes over the sockets, as a reload does; the old one ends after its connections. */
  reload(): Promise<void>
}

/** Where HAProxy is installed; null if it is not. Debian has it in /usr/sbin, which users' PATH lacks. */
export function haproxyBinary(): string | null {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  return directories.map((directory) => join(directory, 'haproxy')).find(existsSync) ?? null
}

/** Starts HAProxy and resolves when it takes connections. Throws `balancer.unreachable` with what it said. */
export async function startHaproxy(options: HaproxyFixture): Promise<RunningHaproxy> {
  const binary = options.binary ?? haproxyBinary()
  if (binary === null)
    throw new DployError('balancer.unreachable', 'HAProxy is not installed', {
      fix: 'On Debian: apt-get install haproxy',
    })
  const config = join(options.directory, 'haproxy.cfg')
  const socket = join(options.directory, 'haproxy.sock')
  const master = join(options.directory, 'master.sock')
  const text = haproxyConfig(options, socket)
  await writeFile(config, options.configure?.(text) ?? text)
  let child = await start(
    binary,
    [...(options.masterWorker ? ['-W', '-S', master] : []), '-db', '-f', config],
    socket,
    options.tether,
  )
  return {
    url: `http://${options.bind}`,
    address: `unix:${socket}`,
    async reload() {
      const old = child
      const pid = await workerPid(socket)
      if (options.masterWorker) {
        // Not by SIGUSR2, which systemd sends: a master that is still starting itself again loses it. Its socket then refuses.
        const asked = async () =>
          await say(master, 'reload').then(
            () => true,
            () => false,
          )
        while (!(await asked())) await new Promise((resolve) => setTimeout(resolve, 10))
        while ((await workerPid(socket).catch(() => pid)) === pid)
          await new Promise((resolve) => setTimeout(resolve, 10))
        return
      }
      child = await start(binary, ['-db', '-f', config, '-x', socket, '-sf', String(pid)], socket, options.tether, pid)
      await new Promise<void>((resolve) => (old.exitCode !== null ? resolve() : old.once('exit', () => resolve())))
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exit = new Promise((resolve) => child.once('exit', resolve))
      if (options.tether) child.stdin!.end()
      else child.kill('SIGTERM')
      await exit
    },
  }
}

/** The configuration: what a production HAProxy should have so that a deployment is not noticed. */
export function haproxyConfig(options: HaproxyFixture, socket: string): string {
  const servers = options.servers
    .map(({ name, address, port }) => `  server ${name} ${address}:${port} check`)
    .join('\n')
  return `global
  stats socket ${socket} mode 600 level admin expose-fd listeners
  stats timeout 1m
  hard-stop-after 30s

defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout queue 10s
  timeout http-keep-alive 60s
  # Else a check has no longer than its interval, and a busy machine looks like a dead one.
  timeout check 2s
  # A refused connection goes to another server at once; without this the same one is tried again after a second.
  option redispatch 1
  retries 3
  # An answer that never began is asked for again.
  retry-on conn-failure empty-response

frontend ${options.backend}-in
  bind ${options.bind}
  default_backend ${options.backend}

backend ${options.backend}
  balance roundrobin
  # But never for what may change something.
  http-request disable-l7-retry unless METH_GET
  option httpchk GET ${options.healthPath}
  default-server inter ${options.checkInterval ?? '1s'} fall 2 rise 1
${servers}
`
}

async function start(
  binary: string,
  args: string[],
  socket: string,
  tether: HaproxyFixture['tether'],
  replaced?: number,
): Promise<ChildProcess> {
  const command = tether ? { file: tether.file, args: [...tether.args, binary, ...args] } : { file: binary, args }
  const child = spawn(command.file, command.args, {
    stdio: [tether ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    cwd: dirname(socket),
    detached: tether !== undefined,
  })
  let said = ''
  for (const stream of [child.stdout!, child.stderr!])
    stream.on('data', (chunk: Buffer) => (said = (said + chunk.toString('utf8')).slice(-4_000)))
  const failed = new Promise<never>((_, reject) => {
    child.once('error', reject)
    child.once('exit', (code) =>
      reject(new DployError('balancer.unreachable', `HAProxy ended with code ${code}:\n${said.trim()}`)),
    )
  })
  failed.catch(() => {})
  let over = false
  const ready = async () => {
    while (!over) {
      const pid = await workerPid(socket).catch(() => null)
      if (pid !== null && pid !== replaced) return
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  const late = new Promise<never>((_, reject) =>
    setTimeout(
      () => reject(new DployError('balancer.unreachable', `HAProxy did not start within 10 s:\n${said.trim()}`)),
      10_000,
    ).unref(),
  )
  try {
    await Promise.race([ready(), failed, late])
    return child
  } finally {
    over = true
  }
}

/** The process id that HAProxy tells of itself. */
async function workerPid(socket: string): Promise<number> {
  const match = /^Pid: (\d+)$/m.exec(await say(socket, 'show info'))
  if (!match) throw new Error('no answer')
  return Number(match[1])
}

function say(socket: string, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const connection = connect(socket)
    let text = ''
    connection.on('data', (chunk) => (text += chunk.toString('utf8')))
    connection.once('error', reject)
    connection.once('close', () => resolve(text))
    connection.end(`${command}\n`)
  })
}
