import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { get } from 'node:http'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { ServiceSpec } from '../../protocol/release-spec.ts'
import type { ServiceManager, ServicePlace, ServiceRelease } from './contract.ts'
import type { AgentOrder } from './fixtures/agent.ts'
import { openManager } from './registry.ts'

/** What a manager's test says of it. */
export interface ManagerSubject {
  kind: ServiceManager['kind']
  /** Why it cannot run here, or false. */
  skip: string | false
  /** It ends and watches the processes itself, rather than leave that to a person's commands. */
  ownsProcesses: boolean
  /** Keys of `service` that it needs beside `command`. */
  service?: (world: ManagerWorld) => Partial<ServiceSpec>
  /** Ends what the manager does not end itself. */
  end?: (world: ManagerWorld) => void
}

/** What the application says of itself. */
export interface Told {
  pid: number
  uid: number
  gid: number
  groups: number[]
  cwd: string
  env: Record<string, string>
}

/** Milliseconds that nothing here may take. */
export const patience = 15_000
const application = fileURLToPath(new URL('fixtures/application.mjs', import.meta.url))
const agentProgram = fileURLToPath(new URL('fixtures/agent.ts', import.meta.url))
/** The command that runs a process keeper. */
export const keeper = {
  file: process.execPath,
  args: [fileURLToPath(new URL('../main.ts', import.meta.url)), 'keeper'],
}

let worlds = 0

/** A server's directories for one service, and its manager. Disposing ends the service, whatever came before. */
export class ManagerWorld implements AsyncDisposable {
  readonly directory: string
  readonly place: ServicePlace
  readonly #subject: ManagerSubject
  readonly #opened: ServiceManager[] = []

  constructor(subject: ManagerSubject) {
    this.#subject = subject
    this.directory = mkdtempSync(join(tmpdir(), `dploy-${subject.kind}-`))
    // Another user than this one may have to get in.
    chmodSync(this.directory, 0o755)
    const place = { directory: join(this.directory, 'shop'), stateDirectory: join(this.directory, 'state') }
    // systemd's journal knows services by name: each world has one of its own.
    this.place = { application: 'shop', environment: `test${process.pid}-${worlds++}`, ...place }
    for (const number of [1, 2]) {
      mkdirSync(this.releasePath(number), { recursive: true })
      copyFileSync(application, join(this.releasePath(number), 'application.mjs'))
    }
    this.manager = this.open()
  }

  readonly manager: ServiceManager

  /** The manager as an agent opens it that was started anew. */
  open(): ServiceManager {
    const manager = openManager(this.#subject.kind, this.place, { keeper, ownsMachine: true })
    this.#opened.push(manager)
    return manager
  }

  releasePath(number: number): string {
    return join(this.place.directory, 'releases', String(number))
  }

  release(wanted: WantedRelease): ServiceRelease {
    const service: ServiceSpec = {
      command: `${process.execPath} application.mjs`,
      health: { kind: 'http', header: {}, path: '/', timeout: 5_000, answer_within: 1_000, interval: 50, successes: 1 },
      instances: 1,
      stop: { signal: 'SIGTERM', timeout: 5_000 },
      manager: this.#subject.kind,
      ...this.#subject.service?.(this),
      ...wanted.service,
    }
    return {
      number: wanted.number,
      path: this.releasePath(wanted.number),
      service,
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', ...wanted.env },
      ports: wanted.ports,
    }
  }

  /** This Node, where every user may run it: a checkout may lie in a directory that only its owner may enter. */
  nodeForEverybody(): string {
    const node = join(this.directory, 'node')
    try {
      linkSync(process.execPath, node)
    } catch {
      // On another file system.
      copyFileSync(process.execPath, node)
      chmodSync(node, 0o755)
    }
    return node
  }

  start(wanted: WantedRelease, beforeSwitch: () => void = () => {}): Promise<{ killed: boolean }> {
    return this.manager.replace(this.release(wanted), () => {
      beforeSwitch()
      this.switchTo(wanted.number)
    })
  }

  /** Starts a release by an agent of its own, which is then killed, with its whole process group. */
  async startFromAgentThatIsKilled(wanted: WantedRelease): Promise<void> {
    this.switchTo(wanted.number)
    const order: AgentOrder = { kind: this.#subject.kind, place: this.place, release: this.release(wanted), keeper }
    const agent = spawn(process.execPath, [agentProgram], { detached: true, stdio: ['pipe', 'pipe', 'inherit'] })
    const ended = once(agent, 'exit')
    agent.stdin.end(JSON.stringify(order))
    const [started] = await Promise.race([
      once(agent.stdout, 'data'),
      ended.then(() => Promise.reject(new Error('the agent ended'))),
    ])
    assert.equal(String(started), 'started\n')
    process.kill(-agent.pid!, 'SIGKILL')
    await ended
  }

  switchTo(number: number): void {
    const current = join(this.place.directory, 'current')
    symlinkSync(`releases/${number}`, `${current}.new`)
    renameSync(`${current}.new`, current)
  }

  /** The last lines of the log. */
  async lines(count = 100): Promise<string[]> {
    const lines: string[] = []
    await this.manager.logs({ lines: count, follow: false, signal: AbortSignal.timeout(patience) }, (line) =>
      lines.push(line.text),
    )
    return lines
  }

  /** All lines, once this one is among those that came after `work` had begun. */
  async linesUntil(line: string, work: () => Promise<unknown>): Promise<string[]> {
    await work()
    let lines: string[] = []
    await until(async () => (lines = await this.lines()).includes(line))
    return lines
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      for (const manager of this.#opened) await manager.stop()
      this.#subject.end?.(this)
    } finally {
      rmSync(this.directory, { recursive: true, force: true })
    }
  }
}

interface WantedRelease {
  number: number
  ports: readonly number[]
  env?: Record<string, string>
  service?: Partial<ServiceSpec>
}

/** A world of its own for one test. */
export function makeWorld(subject: ManagerSubject): ManagerWorld {
  return new ManagerWorld(subject)
}

/** Waits until a condition holds. Throws when it does not within some seconds. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + patience
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`this never came true: ${condition.toString()}`)
    await delay(20)
  }
}

/** What the application on this port tells, once it answers (and is the one that is meant). */
export async function untilAnswers(port: number, isMeant: (told: Told) => boolean = () => true): Promise<Told> {
  let told: Told | null = null
  await until(async () => {
    told = await ask(port, '/').then(
      (text) => JSON.parse(text) as Told,
      () => null,
    )
    return told !== null && isMeant(told)
  })
  return told!
}

/** The text that the application answers by GET on this port. */
export function ask(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = get({ host: '127.0.0.1', port, path, agent: false, timeout: 5_000 }, (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => (text += chunk.toString()))
      response.on('end', () => resolve(text))
      response.on('error', reject)
    })
    asked.on('timeout', () => asked.destroy(new Error('no answer')))
    asked.on('error', reject)
  })
}

/** Whether a process runs; one that has ended and is not yet waited for does not. */
export function lives(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** Ports that nobody listened on a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      return server
    }),
  )
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
