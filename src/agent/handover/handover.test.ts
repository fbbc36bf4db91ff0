import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Ended } from '../../protocol/agent-messages.ts'
import type { ReleaseSpec, ServiceSpec } from '../../protocol/release-spec.ts'
import { ask, freePorts, lives, ManagerWorld, until, untilAnswers, type Told } from '../services/contract-world.ts'
import { Handover, type Incoming } from './handover.ts'
import { findOldCode } from './old-code.ts'

const skip = process.platform === 'linux' ? false : 'needs /proc'

describe('releases hand over on one server', { skip, concurrency: 1, timeout: 120_000 }, () => {
  test('by port: a booted release is not reached, a switch ends nothing, and going back is another switch', async () => {
    await using server = await Server.up({ handover: 'port', keep_warm: 60_000 })
    await server.activate(1)
    const first = await server.told(1)
    assert.deepEqual(await server.boot(2), { already: false })
    assert.equal(server.current, 1)
    assert.deepEqual(await server.described(), { release: 1, handover: 'port', beside: [2] })
    await server.activate(2)
    const second = await server.told(2)
    assert.equal(server.current, 2)
    assert.deepEqual(await server.described(), { release: 2, handover: 'port', beside: [1] })
    assert.notEqual(second.env['PORT'], first.env['PORT'])
    assert.deepEqual(await server.boot(1), { already: true })
    await server.activate(1)
    assert.equal((await server.told(1)).pid, first.pid)
    assert.equal(lives(second.pid), true)
  })

  test('by port: the old release ends when it has been kept warm, and no connection is cut before', async () => {
    await using server = await Server.up({ handover: 'port', keep_warm: 100 })
    await server.activate(1)
    const first = await server.told(1)
    const user = connect(Number(first.env['PORT']), '127.0.0.1')
    await once(user, 'connect')
    await server.activate(2)
    await delay(500)
    assert.equal(lives(first.pid), true)
    user.destroy()
    await until(() => !lives(first.pid))
    assert.deepEqual(server.notes, [])
    // Who begins to listen a moment later hears of it all the same, once.
    await until(() => {
      const heard: Ended[] = []
      using _listening = server.handover.listen((_text, how) => how && heard.push(how))
      return heard.length === 1 && heard[0]!.release === 1 && !heard[0]!.killed
    })
    using _again = server.handover.listen(() => assert.fail('it is told twice'))
  })

  test('connections that outlast the time of the old release are cut, and it is said how many', async () => {
    await using server = await Server.up(
      { handover: 'port', keep_warm: 0, stop: { signal: 'SIGTERM', timeout: 400 } },
      { STUBBORN: '1' },
    )
    await server.activate(1)
    const first = await server.told(1)
    const users = Array.from({ length: 3 }, () => connect(Number(first.env['PORT']), '127.0.0.1').on('error', () => {}))
    await Promise.all(users.map((user) => once(user, 'connect')))
    const ended: Ended[] = []
    using _listening = server.handover.listen((_text, how) => how && ended.push(how))
    await server.activate(2)
    await until(() => !lives(first.pid))
    await until(() => server.notes.length > 0)
    assert.deepEqual(
      ended.map(({ release, killed, connections }) => ({ release, killed, connections })),
      [{ release: 1, killed: true, connections: 3 }],
    )
    assert.ok(ended[0]!.ms >= 400 && ended[0]!.ago === 0)
    assert.match(server.notes[0]!, /release 1 did not end within 400 ms and was killed; 3 connections were cut/)
    for (const user of users) user.destroy()
  })

  test('a release that never gets healthy leaves nothing, and the one that serves as it was', async () => {
    for (const handover of ['port', 'socket'] as const) {
      await using server = await Server.up({
        handover,
        health: { kind: 'http', path: '/', header: {}, timeout: 700, answer_within: 500, interval: 20, successes: 1 },
      })
      await server.activate(1)
      const first = await server.told(1)
      await assert.rejects(server.boot(2, { command: 'sleep 60' }), { code: 'service.unhealthy' })
      await assert.rejects(server.boot(2, { command: 'exit 3' }), { code: 'service.exited' })
      await assert.rejects(server.activate(2, { command: 'sleep 60' }), { code: 'service.unhealthy' })
      assert.equal(server.current, 1)
      assert.equal((await server.told(1)).pid, first.pid)
      assert.deepEqual(await server.described(), { release: 1, handover, beside: [] })
    }
  })

  test('a release that is not switched to after all is ended', async () => {
    await using server = await Server.up({ handover: 'port' })
    await server.activate(1)
    await server.boot(2)
    assert.deepEqual((await server.described()).beside, [2])
    await server.handover.retire(2)
    assert.deepEqual(await server.described(), { release: 1, handover: 'port', beside: [] })
    await server.handover.retire(1)
    assert.equal((await server.described()).release, 1)
  })

  test('by socket: users are answered all along, and the old release ends once the new one answers', async () => {
    await using server = await Server.up({ handover: 'socket' })
    await server.activate(1)
    const first = await server.told(1)
    let asking = true
    const seen: string[] = []
    const users = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (asking) seen.push((JSON.parse(await ask(server.port, '/')) as Told).cwd)
      }),
    )
    users.catch(() => {})
    assert.deepEqual(await server.boot(2), { already: false })
    assert.ok(seen.length > 0 && seen.every((path) => path === server.world.releasePath(1)))
    await server.activate(2)
    await until(() => !lives(first.pid))
    await until(() => seen.length > 20 && seen.slice(-20).every((path) => path === server.world.releasePath(2)))
    asking = false
    await users
    assert.equal(seen.at(-1), server.world.releasePath(2))
    await server.activate(1)
    assert.equal((await server.told(1)).cwd, server.world.releasePath(1))
  })

  test('by socket: an application that opens its port itself is told what to do, before anything is switched', async () => {
    await using server = await Server.up({ handover: 'socket' })
    await server.activate(1)
    const own = `${process.execPath} -e 'require("node:http").createServer().listen(process.env.PORT)'`
    await assert.rejects(server.boot(2, { command: own }), {
      code: 'service.exited',
      fix: /descriptor 3.+handover\.md/,
    })
    assert.equal((await server.told(1)).cwd, server.world.releasePath(1))
  })

  test('a new agent ends what is due, and goes on with what is warm', async () => {
    await using server = await Server.up({ handover: 'port', keep_warm: 700 })
    await server.activate(1)
    const first = await server.told(1)
    await server.activate(2)
    const second = await server.told(2)
    const next = server.open()
    await next.resume()
    assert.equal(lives(first.pid), true)
    await until(() => !lives(first.pid))
    assert.equal(lives(second.pid), true)
  })

  test('a service that was started by a restart is ended before the first release of another kind', async () => {
    await using server = await Server.up({ handover: 'socket' })
    await server.world.start({ number: 1, ports: [server.port] })
    const { pid } = await untilAnswers(server.port)
    assert.deepEqual(await server.described(), { release: 1, handover: undefined, beside: undefined })
    await server.activate(2)
    assert.equal(lives(pid), false)
    assert.equal((await server.told(2)).cwd, server.world.releasePath(2))
  })

  test('a process that still runs an older release is found by its directory', async () => {
    await using server = await Server.up({ handover: 'port' })
    const child = spawn('sleep', ['60'], { cwd: server.world.releasePath(1) })
    try {
      await once(child, 'spawn')
      const [old] = findOldCode(server.world.place.directory, 2, new Set())
      assert.deepEqual({ ...old }, { pid: child.pid, release: 1, what: 'directory', command: 'sleep 60' })
      assert.deepEqual(findOldCode(server.world.place.directory, 1, new Set()), [])
      assert.deepEqual(findOldCode(server.world.place.directory, 2, new Set([child.pid!])), [])
    } finally {
      child.kill('SIGKILL')
    }
  })
})

/** A server with a process keeper and a service. */
class Server implements AsyncDisposable {
  readonly world = new ManagerWorld({ kind: 'process', skip: false, ownsProcesses: true })
  readonly notes: string[] = []
  readonly port: number
  readonly #service: Partial<ServiceSpec>
  readonly #env: Record<string, string>
  readonly handover: Handover
  current: number | null = null

  private constructor(port: number, service: Partial<ServiceSpec>, env: Record<string, string>) {
    this.port = port
    this.#service = service
    this.#env = env
    this.handover = this.open()
  }

  static async up(service: Partial<ServiceSpec>, env: Record<string, string> = {}): Promise<Server> {
    const ports = await freePorts(4)
    const range = { from: Math.min(...ports.slice(1)), to: Math.max(...ports.slice(1)) }
    return new Server(ports[0]!, { ...service, release_ports: range }, env)
  }

  /** As an agent that was started anew opens it. */
  open(): Handover {
    const manager = this.world.open()
    return new Handover({
      ...this.world.place,
      beside: manager.beside!,
      stopService: () => manager.stop(),
      note: (text) => this.notes.push(text),
    })
  }

  boot(number: number, service: Partial<ServiceSpec> = {}): Promise<{ already: boolean }> {
    return this.handover.boot(this.#incoming(number, service))
  }

  activate(number: number, service: Partial<ServiceSpec> = {}): Promise<void> {
    return this.handover.activate(this.#incoming(number, service), () => {
      this.world.switchTo(number)
      this.current = number
    })
  }

  /** What the release says that is to serve. */
  async told(number: number): Promise<Told> {
    return untilAnswers(this.handover.portsOf(number)![0]!, ({ cwd }) => cwd === this.world.releasePath(number))
  }

  async described() {
    const { release, handover, beside } = await this.handover.describe(await this.world.manager.observe())
    return { release, handover, beside }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.world[Symbol.asyncDispose]()
  }

  #incoming(number: number, service: Partial<ServiceSpec>): Incoming {
    const release = this.world.release({ number, ports: [], env: this.#env, service: { ...this.#service, ...service } })
    const signal = AbortSignal.timeout(30_000)
    return {
      spec: { number, service: release.service, release_command: null } as unknown as ReleaseSpec,
      port: this.port,
      release: (ports) => ({ ...release, ports }),
      health: (ports, exited) => ({
        health: release.service.health,
        ports,
        signal,
        exited,
        run: () => Promise.reject(new Error('no command')),
      }),
      balancerSwitches: true,
      signal,
      span: (_name, work) => work(),
    }
  }
}
