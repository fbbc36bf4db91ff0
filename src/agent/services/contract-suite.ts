import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { get } from 'node:http'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
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
const patience = 15_000
const root = process.getuid?.() === 0
const application = fileURLToPath(new URL('fixtures/application.mjs', import.meta.url))
const agentProgram = fileURLToPath(new URL('fixtures/agent.ts', import.meta.url))
/** The command that runs a process keeper. */
export const keeper = { file: process.execPath, args: [fileURLToPath(new URL('../main.ts', import.meta.url)), 'keeper'] }

/** Values that a shell, systemd or a careless parser would change. */
const awkwardValues: Record<string, string> = {
  EMPTY: '',
  SPACES: '  two  spaces around  ',
  SINGLE: "it's",
  DOUBLE: 'say "hello"',
  DOLLAR: '$HOME ${HOME} $$ $(id) `id`',
  PERCENT: '%h %% %n 100%',
  BACKSLASH: 'C:\\new\\table\\',
  LINES: 'first\nsecond\n\n  fourth\n',
  CONTINUED: 'one \\\ntwo',
  TAB: 'a\tb',
  COMMENT: '# not a comment ; nor this',
  EQUALS: 'a=b=c',
  UNICODE: 'Grüße, 世界 👋🏽 \u00a0é',
  BANG: '!important * ? [a] {b,c} ~ & | < > ()',
  LONG: 'x'.repeat(100_000),
}

/** Registers the tests that every service manager has to pass, with real processes. */
export function managerContract(subject: ManagerSubject): void {
  describe(`${subject.kind} keeps the contract of service managers`, { skip: subject.skip, timeout: 180_000 }, () => {
    test('before anything was started it is stopped, and has no log', async () => {
      await using world = makeWorld(subject)
      assert.deepEqual(await world.manager.observe(), { state: 'stopped', release: null, since: null, pids: [], restarts: 0 })
      assert.deepEqual(await world.lines(), [])
      await world.manager.stop()
    })

    test('the application gets its variables as they are, its port and its directory, and nothing of the agent', async () => {
      await using world = makeWorld(subject)
      const [port] = await freePorts(1)
      process.env.SECRET_OF_THE_AGENT = 'join token'
      try {
        await world.start({ number: 1, ports: [port!], env: awkwardValues })
      } finally {
        delete process.env.SECRET_OF_THE_AGENT
      }
      const told = await untilAnswers(port!)
      for (const [name, value] of Object.entries(awkwardValues)) assert.equal(told.env[name], value, name)
      assert.equal(told.env['PORT'], String(port))
      assert.equal(told.env['SECRET_OF_THE_AGENT'], undefined)
      assert.equal(told.cwd, world.releasePath(1))
      const seen = await world.manager.observe()
      assert.equal(seen.state, 'running')
      assert.equal(seen.release, 1)
    })

    test('a second release takes the place of the first, after whose end the switch is made', async () => {
      await using world = makeWorld(subject)
      const [port] = await freePorts(1)
      await world.start({ number: 1, ports: [port!] })
      const first = await untilAnswers(port!)
      let runs: boolean | null = null
      const { killed } = await world.start({ number: 2, ports: [port!] }, () => (runs = lives(first.pid)))
      if (subject.kind === 'process') assert.equal(runs, false)
      const second = await untilAnswers(port!, (told) => told.pid !== first.pid)
      assert.equal(killed, false)
      assert.equal(lives(first.pid), false)
      assert.equal(second.cwd, world.releasePath(2))
      assert.equal((await world.manager.observe()).release, 2)
    })

    test('what the application prints is in its log, the last lines and those that come', async () => {
      await using world = makeWorld(subject)
      const [port] = await freePorts(1)
      await world.start({ number: 1, ports: [port!] })
      await untilAnswers(port!)
      await ask(port!, '/print?text=one')
      await until(async () => (await world.lines()).includes('one on stderr'))
      assert.ok((await world.lines()).includes('one on stdout'))
      const last = await world.lines(2)
      assert.deepEqual(last.toSorted(), ['one on stderr', 'one on stdout'])

      const stop = new AbortController()
      const lines: string[] = []
      const followed = world.manager.logs({ lines: 1, follow: true, signal: stop.signal }, (line) => lines.push(line.text))
      try {
        await until(() => lines.length === 1)
        await ask(port!, '/print?text=Gr%C3%BC%C3%9Fe')
        await until(() => lines.includes('Grüße on stdout') && lines.includes('Grüße on stderr'))
      } finally {
        stop.abort()
        await followed.catch(() => {})
      }
    })

    test('the application survives a killed agent, and the next one knows it', async () => {
      await using world = makeWorld(subject)
      const [port] = await freePorts(1)
      await world.startFromAgentThatIsKilled({ number: 1, ports: [port!] })
      const told = await untilAnswers(port!)
      const seen = await world.manager.observe()
      assert.equal(seen.state, 'running')
      assert.equal(seen.release, 1)
      await world.manager.ensure()
      assert.equal((await untilAnswers(port!)).pid, told.pid)
      await world.start({ number: 2, ports: [port!] })
      await untilAnswers(port!, (next) => next.pid !== told.pid)
      assert.equal(lives(told.pid), false)
    })

    test('watching ends with its signal', async () => {
      await using world = makeWorld(subject)
      const [port] = await freePorts(1)
      await world.start({ number: 1, ports: [port!] })
      await untilAnswers(port!)
      const stop = new AbortController()
      const watched = world.manager.exited(stop.signal)
      stop.abort(new Error('enough'))
      await assert.rejects(watched)
    })

    if (subject.ownsProcesses) registerProcesses(subject)
  })
}

function registerProcesses(subject: ManagerSubject): void {
  test('it runs as the user that is named, without groups of root', { skip: root ? false : 'not root' }, async () => {
    await using world = makeWorld(subject)
    const [port] = await freePorts(1)
    await world.start({ number: 1, ports: [port!], service: { user: 'nobody' } })
    const told = await untilAnswers(port!)
    assert.equal(told.uid, 65_534)
    assert.notEqual(told.gid, 0)
    assert.ok(!told.groups.includes(0))
  })

  test('a user that is not there is named', { skip: root ? false : 'not root' }, async () => {
    await using world = makeWorld(subject)
    await assert.rejects(world.start({ number: 1, ports: [], service: { user: 'nobody-of-this-name' } }), { code: 'service.manager_unavailable', message: /nobody-of-this-name/ })
  })

  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGUSR2']) {
    test(`it asks the application to end by ${signal} where that is configured`, async () => {
      await using world = makeWorld(subject)
      const [port] = await freePorts(1)
      await world.start({ number: 1, ports: [port!], service: { stop: { signal, timeout: 10_000 } } })
      const { pid } = await untilAnswers(port!)
      const lines = await world.linesUntil(`got ${signal}`, () => world.start({ number: 2, ports: [port!] }))
      assert.equal(lives(pid), false)
      assert.ok(!lines.includes('got SIGTERM'))
    })
  }

  test('an application that ignores the signal is killed when its time is up, and not before', async () => {
    await using world = makeWorld(subject)
    const [port] = await freePorts(1)
    await world.start({ number: 1, ports: [port!], env: { STUBBORN: '1' }, service: { stop: { signal: 'SIGTERM', timeout: 700 } } })
    const { pid } = await untilAnswers(port!)
    const began = performance.now()
    const { killed } = await world.start({ number: 2, ports: [port!] })
    const took = performance.now() - began
    assert.equal(killed, true)
    assert.equal(lives(pid), false)
    assert.ok(took >= 695 && took < 5_000, `it took ${Math.round(took)} ms`)
    await untilAnswers(port!)
  })

  test('the whole process group ends, also a child that ignores the signal', async () => {
    await using world = makeWorld(subject)
    const [port] = await freePorts(1)
    await world.start({ number: 1, ports: [port!], service: { stop: { signal: 'SIGTERM', timeout: 500 } } })
    await untilAnswers(port!)
    const child = Number(await ask(port!, '/child'))
    assert.equal(lives(child), true)
    await world.start({ number: 2, ports: [port!] })
    assert.equal(lives(child), false)
    await untilAnswers(port!)
    await world.manager.stop()
    assert.equal((await world.manager.observe()).state, 'stopped')
    await assert.rejects(ask(port!, '/'))
  })

  test('a stopped service stays stopped, and can be started again', async () => {
    await using world = makeWorld(subject)
    const [port] = await freePorts(1)
    await world.start({ number: 1, ports: [port!] })
    await untilAnswers(port!)
    await world.manager.stop()
    await world.manager.ensure()
    assert.equal((await world.manager.observe()).state, 'stopped')
    await world.manager.stop()
    await world.start({ number: 1, ports: [port!] })
    await untilAnswers(port!)
  })

  test('a crash is told at once, with the code and what was printed last; the application is started again', async () => {
    await using world = makeWorld(subject)
    const [port] = await freePorts(1)
    await world.start({ number: 1, ports: [port!] })
    const { pid } = await untilAnswers(port!)
    const stop = AbortSignal.timeout(patience)
    const watched = world.manager.exited(stop)
    watched.catch(() => {})
    await world.manager.observe()
    await ask(port!, '/crash?code=7&text=out%20of%20luck').catch(() => {})
    const began = performance.now()
    await assert.rejects(watched, { code: 'service.exited', message: /code 7[^]*out of luck/ })
    assert.ok(performance.now() - began < 2_000)
    const next = await untilAnswers(port!, (told) => told.pid !== pid)
    assert.notEqual(next.pid, pid)
    await until(async () => (await world.manager.observe()).state === 'running')
    const seen = await world.manager.observe()
    assert.equal(seen.restarts, 1)
    assert.deepEqual(seen.pids, [next.pid])
  })

  test('an application that ends at once is told, and shown as failed between its starts', async () => {
    await using world = makeWorld(subject)
    await world.start({ number: 1, ports: [], service: { command: 'echo no database; exit 3' } })
    await assert.rejects(world.manager.exited(AbortSignal.timeout(patience)), { code: 'service.exited', message: /no database/ })
    await until(async () => (await world.manager.observe()).state === 'failed')
    await until(async () => (await world.manager.observe()).restarts >= 1)
  })

  test('an application that is killed is started again', async () => {
    await using world = makeWorld(subject)
    const [port] = await freePorts(1)
    await world.start({ number: 1, ports: [port!] })
    const { pid } = await untilAnswers(port!)
    process.kill(pid, 'SIGKILL')
    await untilAnswers(port!, (told) => told.pid !== pid)
  })

  test('several instances have a port each, one that crashes comes back alone, and fewer are fewer', async () => {
    await using world = makeWorld(subject)
    const ports = await freePorts(3)
    await world.start({ number: 1, ports, service: { instances: 3 } })
    const told = await Promise.all(ports.map((port) => untilAnswers(port)))
    assert.deepEqual(told.map(({ env }) => Number(env['PORT'])), ports)
    assert.equal(new Set(told.map(({ pid }) => pid)).size, 3)
    const seen = await world.manager.observe()
    assert.equal(seen.state, 'running')
    assert.deepEqual(seen.pids.toSorted(), told.map(({ pid }) => pid).toSorted())
    const watched = world.manager.exited(AbortSignal.timeout(patience))
    watched.catch(() => {})
    await world.manager.observe()
    process.kill(told[1]!.pid, 'SIGKILL')
    await assert.rejects(watched, { code: 'service.exited' })
    await untilAnswers(ports[1]!, ({ pid }) => pid !== told[1]!.pid)
    assert.equal((await untilAnswers(ports[0]!)).pid, told[0]!.pid)
    assert.equal((await untilAnswers(ports[2]!)).pid, told[2]!.pid)
    await world.start({ number: 2, ports: ports.slice(0, 1) })
    await untilAnswers(ports[0]!, ({ pid }) => pid !== told[0]!.pid)
    for (const { pid } of told) assert.equal(lives(pid), false)
    assert.equal((await world.manager.observe()).pids.length, 1)
    await assert.rejects(ask(ports[2]!, '/'))
  })

  test('a service without a port runs all the same', async () => {
    await using world = makeWorld(subject)
    await world.start({ number: 1, ports: [], service: { instances: 2 } })
    await until(async () => (await world.lines()).filter((line) => line === 'begins').length === 2)
    const seen = await world.manager.observe()
    assert.equal(seen.state, 'running')
    assert.equal(seen.pids.length, 2)
  })

  test('two starts at the same time leave one application', async () => {
    await using world = makeWorld(subject)
    const [port] = await freePorts(1)
    await Promise.allSettled([world.start({ number: 1, ports: [port!] }), world.start({ number: 1, ports: [port!] })])
    const told = await untilAnswers(port!)
    await until(async () => {
      const { pids } = await world.manager.observe()
      return pids.length === 1 && pids[0] === told.pid
    })
    assert.equal((await world.manager.observe()).state, 'running')
  })

  test('a command line of the shell is run by one, whatever characters it has', async () => {
    await using world = makeWorld(subject)
    const command = `V='50% of $HOME'; printf '%s|%s|%s\\n' "$V" "\${GREETING}" 'tab\tü "q" \\' && exec sleep 60`
    await world.start({ number: 1, ports: [], env: { GREETING: 'hello' }, service: { command } })
    await until(async () => (await world.lines()).length > 0)
    assert.deepEqual(await world.lines(), [`50% of $HOME|hello|tab\tü "q" \\`])
  })
}

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
    this.place = { application: 'shop', environment: `test${process.pid}`, ...place }
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
      health: { path: '/', timeout: 5_000, answer_within: 1_000, interval: 50, successes: 1 },
      instances: 1,
      stop: { signal: 'SIGTERM', timeout: 5_000 },
      manager: this.#subject.kind,
      ...this.#subject.service?.(this),
      ...wanted.service,
    }
    return { number: wanted.number, path: this.releasePath(wanted.number), service, env: { PATH: '/usr/local/bin:/usr/bin:/bin', ...wanted.env }, ports: wanted.ports }
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
    const [started] = await Promise.race([once(agent.stdout, 'data'), ended.then(() => Promise.reject(new Error('the agent ended')))])
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
    await this.manager.logs({ lines: count, follow: false, signal: AbortSignal.timeout(patience) }, (line) => lines.push(line.text))
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

function makeWorld(subject: ManagerSubject): ManagerWorld {
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
    told = await ask(port, '/').then((text) => JSON.parse(text) as Told, () => null)
    return told !== null && isMeant(told)
  })
  return told!
}

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
