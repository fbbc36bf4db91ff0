import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Cgroup } from './cgroup.ts'
import { runCommand, type CommandOptions, type CommandResult } from './command.ts'
import { mountDisk, rootOf, unmountDisk } from './disk.ts'
import { plug, unplug } from './network.ts'
import { endOwner, isAlive, ownerOf } from './owner.ts'
import { bridgeOf, machineOf, runDirectory, saveRun, type Run, type RunServer } from './run.ts'
import { killServer } from './sweep.ts'

/** How a person would reach a server with their own ssh. */
export interface SshAccess {
  host: string
  port: number
  user: string
  identityFile: string
  knownHostsFile: string
  /** An ssh_config that knows all servers of the fleet by name: `ssh -F configFile web1`. */
  configFile: string
}

export interface ServerOptions {
  base: string
  /** Paths on the host by the path that they have on the server, read-only there. */
  bind: Record<string, string>
  /** Lines for sshd_config. */
  sshd: string[]
}

/** One server of a fleet: a machine with a file system, a systemd, an sshd and an address of its own. */
export class Server {
  readonly name: string
  readonly address: string
  readonly ssh: SshAccess
  /** Its file system as the host sees it, while it is on. Don't follow symbolic links out of it: they mean the server's paths. */
  readonly root: string
  readonly #run: Run
  readonly #state: RunServer
  readonly #options: ServerOptions
  readonly #cgroup: Cgroup

  constructor(run: Run, state: RunServer, options: ServerOptions) {
    this.name = state.name
    this.address = state.address
    this.root = rootOf(run, state.name)
    const directory = join(runDirectory(run.number), 'ssh')
    this.ssh = {
      host: state.address,
      port: 22,
      user: 'root',
      identityFile: join(directory, 'id_ed25519'),
      knownHostsFile: join(directory, 'known_hosts'),
      configFile: join(directory, 'config'),
    }
    this.#run = run
    this.#state = state
    this.#options = options
    this.#cgroup = new Cgroup(bridgeOf(run), state.name)
  }

  get isOn(): boolean {
    return this.#state.process !== undefined && isAlive(this.#state.process)
  }

  /** The server's processor time so far, in seconds. Commands of exec() are not in it. */
  get cpuSeconds(): number {
    return this.#cgroup.cpuSeconds()
  }

  /** Where what its console showed is. */
  get consoleLog(): string {
    return join(runDirectory(this.#run.number), `${this.name}.log`)
  }

  /** Switches it on and waits until systemd has started everything and sshd answers. Throws with the units that failed. */
  async boot(options: { timeout?: number } = {}): Promise<void> {
    if (this.isOn) throw new Error(`${this.name} is on already`)
    const patience = AbortSignal.timeout(options.timeout ?? 60_000)
    const machine = machineOf(this.#run, this.name)
    const isNew = !existsSync(this.root)
    await mountDisk(this.#run, this.name, this.#options.base)
    if (isNew) this.#setUp()
    const groups = this.#cgroup.create()
    const console = openSync(this.consoleLog, 'a', 0o600)
    const child = spawn(
      'sh',
      [
        // The shell enters the groups before it becomes systemd-nspawn, so that no process is ever outside of them.
        '-c',
        'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ >"$1" || exit 1; shift; n=$((n - 1)); done; exec "$@"',
        'sh',
        String(groups.length),
        ...groups,
        'systemd-nspawn',
        '--quiet',
        `--directory=${this.root}`,
        `--network-namespace-path=/run/netns/${machine}`,
        `--machine=${machine}`,
        `--hostname=${this.name}`,
        // Over its own network, a server may do what it likes.
        '--capability=CAP_NET_ADMIN',
        '--boot',
        '--register=no',
        '--keep-unit',
        '--resolv-conf=off',
        '--timezone=off',
        '--link-journal=no',
        ...Object.entries(this.#options.bind).map(
          ([inside, outside]) => `--bind-ro=${escaped(outside)}:${escaped(inside)}`,
        ),
      ],
      { detached: true, stdio: ['ignore', console, console] },
    )
    closeSync(console)
    child.on('error', () => {})
    child.unref()
    this.#state.process = child.pid === undefined ? undefined : ownerOf(child.pid)
    saveRun(this.#run)
    await this.#untilRunning(patience)
  }

  /** Shuts it down as its power button does, and waits until it is off. After `timeout` ms (30,000) its power is cut. */
  async poweroff(options: { timeout?: number } = {}): Promise<void> {
    // What systemd-nspawn takes for a press of the power button; it passes it on as the signal that systemd knows.
    if (this.#state.process) endOwner(this.#state.process, 'SIGTERM')
    const end = performance.now() + (options.timeout ?? 30_000)
    while (this.isOn && performance.now() < end) await delay(20)
    await this.kill()
  }

  /** Cuts its power: every process ends at once, nothing is flushed by it, its network stays plugged in. */
  async kill(): Promise<void> {
    await killServer(this.#run, this.#state)
    this.#state.process = undefined
    saveRun(this.#run)
    await unmountDisk(this.#run, this.name)
    await this.#cgroup.remove()
  }

  /** Nothing reaches it any more and nothing comes from it, while it runs on. Neither end is told. */
  async cutNetwork(): Promise<void> {
    await unplug(this.#run, this.#state)
  }

  async restoreNetwork(): Promise<void> {
    await plug(this.#run, this.#state)
  }

  /** Runs a program on the server as root, past ssh and its network. Environment and directory are the server's. */
  async exec(
    file: string,
    args: readonly string[] = [],
    options: Omit<CommandOptions, 'env'> = {},
  ): Promise<CommandResult> {
    return await runCommand('nsenter', this.#entering(file, args), { ...options, env: serverEnvironment })
  }

  /** As exec, but an exit code other than 0 is an error. Gives back the standard output. */
  async mustExec(
    file: string,
    args: readonly string[] = [],
    options: Omit<CommandOptions, 'env'> = {},
  ): Promise<string> {
    const result = await this.exec(file, args, options)
    if (result.code === 0) return result.stdout
    throw new Error(
      `${file} ${args.join(' ')} on ${this.name} ended with ${result.code ?? result.signal}\n${result.stderr.trim() || result.stdout.trim()}`,
    )
  }

  /** The program and arguments that run a command on the server, for those who start it themselves (a terminal, a stream). */
  entering(file: string, args: readonly string[] = []): { file: string; args: string[]; env: NodeJS.ProcessEnv } {
    return { file: 'nsenter', args: this.#entering(file, args), env: serverEnvironment }
  }

  /** Writes a file on the server, with the directories above it. It is there completely or not at all. */
  async write(path: string, content: string | Buffer, mode = 0o644): Promise<void> {
    const script = 'mkdir -p -- "${1%/*}/" && cat >"$1.new" && chmod "$2" -- "$1.new" && mv -fT -- "$1.new" "$1"'
    await this.mustExec('sh', ['-ec', script, 'sh', path, mode.toString(8)], { stdin: content })
  }

  async read(path: string): Promise<string> {
    return await this.mustExec('cat', ['--', path])
  }

  #entering(file: string, args: readonly string[]): string[] {
    return [
      `--target=${this.#leader()}`,
      '--mount',
      '--uts',
      '--ipc',
      '--net',
      '--pid',
      '--cgroup',
      '--root',
      '--wd',
      '--',
      file,
      ...args,
    ]
  }

  /** The process that is number 1 on the server. */
  #leader(): number {
    const pid = this.#findLeader()
    if (pid === undefined) throw new Error(`${this.name} is off`)
    return pid
  }

  #findLeader(): number | undefined {
    if (!this.#state.process || !isAlive(this.#state.process)) return undefined
    const { pid } = this.#state.process
    for (const child of read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean)) {
      if (/^NSpid:.*\t1$/m.test(read(`/proc/${child}/status`))) return Number(child)
    }
    return undefined
  }

  async #untilRunning(patience: AbortSignal): Promise<void> {
    try {
      // The socket of PID 1: with it, systemctl can wait for the rest.
      for (;;) {
        const leader = this.#findLeader()
        if (leader !== undefined && existsSync(`/proc/${leader}/root/run/systemd/private`)) break
        if (!this.isOn) throw new Error('it ended while booting')
        await delay(20, undefined, { signal: patience })
      }
      for (;;) {
        const { stdout } = await this.exec('systemctl', ['is-system-running', '--wait'], {
          signal: patience,
          timeout: 60_000,
        })
        if (stdout.trim() === 'running') break
        if (stdout.trim() === 'degraded')
          throw new Error(
            `units failed: ${(await this.mustExec('systemctl', ['list-units', '--failed', '--plain', '--no-legend'])).trim()}`,
          )
        // It says "offline" or nothing for an instant before its bus is there.
        await delay(20, undefined, { signal: patience })
      }
      while (!(await answersSsh(this.address))) await delay(20, undefined, { signal: patience })
    } catch (error) {
      const console = read(this.consoleLog).trim().split('\n').slice(-15).join('\n')
      throw new Error(
        `${this.name} did not boot: ${patience.aborted ? 'it took too long' : (error as Error).message}\n${console}`,
        { cause: error },
      )
    }
  }

  /** What the first boot of a machine, or who installs it, leaves on its disk. */
  #setUp(): void {
    const put = (path: string, content: string, mode = 0o644): void =>
      writeFileSync(join(this.root, path), content, { mode })
    put('etc/hostname', `${this.name}\n`)
    put('etc/machine-id', `${randomBytes(16).toString('hex')}\n`)
    const servers = this.#run.servers.map((server) => `${server.address} ${server.name}`)
    put(
      'etc/hosts',
      ['127.0.0.1 localhost', '::1 localhost', `${this.#run.network}.1 control`, ...servers, ''].join('\n'),
    )
    if (this.#options.sshd.length > 0) put('etc/ssh/sshd_config.d/fleet.conf', `${this.#options.sshd.join('\n')}\n`)
    const keys = join(runDirectory(this.#run.number), 'ssh')
    put('etc/ssh/ssh_host_ed25519_key', readFileSync(join(keys, `${this.name}.host`), 'utf8'), 0o600)
    put('etc/ssh/ssh_host_ed25519_key.pub', readFileSync(join(keys, `${this.name}.host.pub`), 'utf8'))
    mkdirSync(join(this.root, 'root/.ssh'), { mode: 0o700 })
    put('root/.ssh/authorized_keys', readFileSync(`${this.ssh.identityFile}.pub`, 'utf8'), 0o600)
  }
}

const serverEnvironment = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  USER: 'root',
  LOGNAME: 'root',
  LANG: 'C.UTF-8',
}

/** For systemd-nspawn's lists, where a colon divides. */
function escaped(path: string): string {
  return path.replace(/[\\:]/g, '\\$&')
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** Whether an sshd greets at the address, as soon as it does. */
async function answersSsh(address: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect({ host: address, port: 22, timeout: 1000 })
    const answer = (yes: boolean): void => {
      socket.destroy()
      resolve(yes)
    }
    socket.once('data', (data) => answer(data.toString().startsWith('SSH-')))
    socket.once('error', () => answer(false))
    socket.once('timeout', () => answer(false))
    socket.once('close', () => answer(false))
  })
}
