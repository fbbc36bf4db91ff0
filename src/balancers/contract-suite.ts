import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { BalancerConfig } from '../protocol/config/config.ts'
import { DployError, type ErrorCode } from '../protocol/errors.ts'
import { Backend } from './contract-backend.ts'
import { Users } from './contract-users.ts'
import type { Balancer } from './contract.ts'
import { openBalancer } from './registry.ts'

/** A running balancer in front of the servers that the suite started. */
export interface ContractFixture extends AsyncDisposable {
  url: string
  config: BalancerConfig
}

/** What a driver's test says of its balancer. */
export interface ContractSubject {
  name: string
  /** Why it cannot run here, or false. */
  skip: string | false
  capabilities: Balancer['capabilities']
  /** The driver notices by itself that a server is down when it is registered. */
  seesServersDown: boolean
  /** A share of the traffic can be sent to some servers. */
  splits: boolean
  /** Applying a change closes connections of users that are idle (a reload). */
  closesIdleConnections: boolean
  /** Starts the real program. Every server answers `GET /healthz`. */
  start(servers: readonly Backend[], directory: string): Promise<ContractFixture>
  /** Mistakes in dploy.yml that `check` reports, each with its code and what the message names. */
  mistakes: { what: string; code: ErrorCode; names: RegExp; make(config: BalancerConfig): BalancerConfig }[]
}

/** A world of one test. */
export interface ContractWorld extends AsyncDisposable {
  backends: Backend[]
  balancer: Balancer
  fixture: ContractFixture
  users: Users
  directory: string
  backend(name: string): Backend
}

/** Milliseconds that nothing here may take. */
const patience = 10_000

/** Registers the tests that every balancer driver has to pass, against the real program. */
export function balancerContract(subject: ContractSubject): void {
  const world = (count = 3) => contractWorld(subject, count)
  const { capabilities } = subject

  describe(`${subject.name} keeps the contract of balancers`, { skip: subject.skip }, () => {
    test('a check of servers that are there passes, and says what the driver can do', async () => {
      await using here = await world()
      assert.deepEqual(here.balancer.capabilities, capabilities)
      assert.equal(here.balancer.kind, here.fixture.config.kind)
      assert.equal(here.balancer.split !== undefined, subject.splits)
      await here.balancer.check(['web1', 'web2', 'web3'], soon())
      assert.deepEqual(
        new Set(await here.users.names(30)),
        new Set(['web1', 'web2', 'web3']),
        'a check takes nothing out of traffic',
      )
    })

    for (const mistake of subject.mistakes) {
      test(`a check reports ${mistake.what}, and what to do`, async () => {
        await using here = await world()
        await using balancer = openBalancer(mistake.make(here.fixture.config))
        await assert.rejects(balancer.check(['web1'], soon()), coded(mistake.code, mistake.names))
      })
    }

    test('an aborted signal ends every call with its reason', async () => {
      await using here = await world()
      const gone = AbortSignal.abort(new Error('nobody waits for this'))
      const options = { timeout: patience, signal: gone }
      for (const call of [
        here.balancer.check(['web1'], gone),
        here.balancer.read(['web1'], gone),
        here.balancer.drain('web1', options),
        here.balancer.register('web1', options),
      ]) {
        await assert.rejects(call, /nobody waits for this/)
      }
    })

    if (capabilities.drains) registerDrains(subject, world)
    if (capabilities.countsInFlight) registerInFlight(world)
    if (capabilities.counts) registerCounters(world)
    if (subject.splits) registerSplits(world)
  })
}

function registerDrains(subject: ContractSubject, world: (count?: number) => Promise<ContractWorld>): void {
  const waits = subject.capabilities.countsInFlight

  test('a server that does not exist is named, with those that do', async () => {
    await using here = await world()
    const options = { timeout: patience, signal: soon() }
    const right = coded('balancer.unknown_server', /web9/)
    await assert.rejects(here.balancer.check(['web1', 'web9'], soon()), right)
    await assert.rejects(here.balancer.read(['web9'], soon()), right)
    await assert.rejects(here.balancer.drain('web9', options), right)
    await assert.rejects(here.balancer.register('web9', options), right)
  })

  test('a drained server gets nothing, and a registered one gets traffic at once', async () => {
    await using here = await world()
    assert.deepEqual(await here.balancer.drain('web2', { timeout: patience, signal: soon() }), { inFlight: 0 })
    assert.deepEqual(new Set(await here.users.names(30)), new Set(['web1', 'web3']))
    if (waits) assert.equal((await here.balancer.read(['web2'], soon()))[0]!.admission, 'out')
    await here.balancer.register('web2', { timeout: patience, signal: soon() })
    assert.deepEqual(new Set(await here.users.names(30)), new Set(['web1', 'web2', 'web3']))
    const [read] = await here.balancer.read(['web2'], soon())
    assert.deepEqual([read!.admission, read!.up], ['ready', true])
  })

  test('all servers are drained and registered at the same time', async () => {
    await using here = await world(4)
    const names = ['web2', 'web3', 'web4']
    const drained = await Promise.all(
      names.map((name) => here.balancer.drain(name, { timeout: patience, signal: soon() })),
    )
    assert.deepEqual(
      drained,
      names.map(() => ({ inFlight: 0 })),
    )
    assert.deepEqual(new Set(await here.users.names(20)), new Set(['web1']))
    await Promise.all(names.map((name) => here.balancer.register(name, { timeout: patience, signal: soon() })))
    assert.deepEqual(new Set(await here.users.names(40)), new Set(['web1', ...names]))
  })

  test('another driver goes on where the first one ended', async () => {
    await using here = await world()
    await here.balancer.drain('web1', { timeout: patience, signal: soon() })
    await here.balancer[Symbol.asyncDispose]()
    assert.deepEqual(new Set(await here.users.names(20)), new Set(['web2', 'web3']))
    await using second = openBalancer(here.fixture.config)
    await second.check(['web1', 'web2', 'web3'], soon())
    await second.drain('web1', { timeout: patience, signal: soon() })
    await second.register('web1', { timeout: patience, signal: soon() })
    assert.deepEqual(new Set(await here.users.names(30)), new Set(['web1', 'web2', 'web3']))
  })

  if (subject.seesServersDown) {
    test('registering waits until the balancer sees the server up', async () => {
      await using here = await world()
      await here.backend('web2').stop()
      await reads(here, 'web2', (seen) => !seen.up)
      let over = false
      const registered = here.balancer
        .register('web2', { timeout: patience, signal: soon() })
        .finally(() => (over = true))
      await here.users.names(10)
      assert.equal(over, false)
      await here.backend('web2').start()
      await registered
      assert.ok((await here.users.names(30)).includes('web2'))
    })

    test('registering a server that stays down says what the balancer says of it', async () => {
      await using here = await world()
      await here.backend('web2').stop()
      await reads(here, 'web2', (seen) => !seen.up)
      await assert.rejects(
        here.balancer.register('web2', { timeout: 200, signal: soon() }),
        coded('balancer.not_up', /web2.*: ./),
      )
    })
  }

  test('every server restarts, one after another, while eight users ask all the time, and no request fails', async () => {
    await using here = await world()
    let running = true
    let answered = 0
    const failures: string[] = []
    const ask = async () => {
      while (running) {
        try {
          const { status, text } = await here.users.get()
          if (status === 200) answered++
          else failures.push(`${status} ${text}`)
        } catch (error) {
          failures.push((error as NodeJS.ErrnoException).code ?? (error as Error).message)
        }
      }
    }
    const asking = Array.from({ length: 8 }, ask)
    for (const backend of here.backends) {
      assert.deepEqual(await here.balancer.drain(backend.name, { timeout: patience, signal: soon() }), { inFlight: 0 })
      const before = backend.requests
      await (waits ? backend.stop() : backend.stopGracefully())
      const others = answered
      await until(async () => assert.ok(answered > others + 20))
      assert.equal(backend.requests, before)
      await backend.start()
      await here.balancer.register(backend.name, { timeout: patience, signal: soon() })
      await until(async () => assert.ok(backend.requests > before))
    }
    running = false
    await Promise.all(asking)
    assert.deepEqual(failures, [], `of ${answered + failures.length} requests`)
  })
}

function registerInFlight(world: (count?: number) => Promise<ContractWorld>): void {
  test('draining waits until the request in flight has ended, and nothing new reaches the server', async () => {
    await using here = await world()
    const { slow, backend } = await inFlight(here)
    const requests = backend.requests
    const progress: (number | null)[] = []
    const waiting = Promise.withResolvers<void>()
    let over = false
    const drained = here.balancer
      .drain(backend.name, {
        timeout: patience,
        signal: soon(),
        onProgress: (count) => (progress.push(count), count === 1 && waiting.resolve()),
      })
      .finally(() => (over = true))
    await Promise.race([waiting.promise, drained])
    await reads(here, backend.name, (seen) => seen.admission === 'draining' && seen.inFlight === 1)
    const names = await here.users.names(30)
    assert.ok(!names.includes(backend.name), `${backend.name} drains and answered: ${names.join(' ')}`)
    assert.equal(backend.requests, requests)
    assert.equal(over, false)
    backend.release()
    assert.deepEqual(await slow, { status: 200, text: backend.name })
    assert.deepEqual(await drained, { inFlight: 0 })
    assert.deepEqual(progress.at(-1), 0)
  })

  test('when the drain time is up, the answer is the number of requests in flight', async () => {
    await using here = await world()
    const { slow, backend } = await inFlight(here)
    assert.deepEqual(await here.balancer.drain(backend.name, { timeout: 300, signal: soon() }), { inFlight: 1 })
    assert.ok(!(await here.users.names(20)).includes(backend.name))
    backend.release()
    assert.equal((await slow).status, 200)
  })

  test('a drain time of 0 takes a server out at once', async () => {
    await using here = await world()
    await here.balancer.drain('web3', { timeout: 0, signal: soon() })
    assert.ok(!(await here.users.names(20)).includes('web3'))
  })

  test('an abort ends a drain that waits, and the server stays out of traffic', async () => {
    await using here = await world()
    const { slow, backend } = await inFlight(here)
    const abort = new AbortController()
    const drained = here.balancer.drain(backend.name, {
      timeout: patience,
      signal: abort.signal,
      onProgress: (count) => count === 1 && abort.abort(new Error('cancelled by ann')),
    })
    await assert.rejects(drained, /cancelled by ann/)
    assert.ok(!(await here.users.names(20)).includes(backend.name))
    backend.release()
    assert.equal((await slow).status, 200)
  })
}

function registerCounters(world: (count?: number) => Promise<ContractWorld>): void {
  test('counters grow by what was asked', async () => {
    await using here = await world()
    const before = (await here.balancer.counters(soon()))!
    await here.users.names(12)
    for (let index = 0; index < 3; index++) assert.equal((await here.users.get('/error')).status, 500)
    await until(async () => {
      const after = (await here.balancer.counters(soon()))!
      assert.deepEqual([after.requests - before.requests, after.serverErrors - before.serverErrors], [15, 3])
      assert.deepEqual([after.connectionErrors, after.retries], [before.connectionErrors, before.retries])
    })
  })
}

function registerSplits(world: (count?: number) => Promise<ContractWorld>): void {
  /** How many of `count` requests each server answered. */
  const counts = async (here: ContractWorld, count: number) => {
    const names = await here.users.names(count)
    return Object.fromEntries(here.backends.map(({ name }) => [name, names.filter((one) => one === name).length]))
  }

  test('some servers get a share of the traffic together, whatever their number, and all of it evenly again', async () => {
    await using here = await world(4)
    await here.balancer.split!({ servers: ['web2'], share: 0.05 }, soon())
    await until(async () => {
      const few = await counts(here, 200)
      assert.ok(few.web2! >= 7 && few.web2! <= 13, `5 % of 200 are 10: ${JSON.stringify(few)}`)
      assert.ok(Math.min(few.web1!, few.web3!, few.web4!) >= 55, 'the others share the rest')
    })
    await here.balancer.split!({ servers: ['web2', 'web3'], share: 0.8 }, soon())
    await until(async () => {
      const many = await counts(here, 100)
      assert.ok(Math.abs(many.web2! + many.web3! - 80) <= 4, JSON.stringify(many))
    })
    await here.balancer.split!(null, soon())
    await until(async () =>
      assert.deepEqual(
        Object.values(await counts(here, 100)).filter((count) => Math.abs(count - 25) > 2),
        [],
      ),
    )
  })

  test('a share holds while its server is drained and registered, and ends where another driver says so', async () => {
    await using here = await world(4)
    const options = { timeout: patience, signal: soon() }
    await here.balancer.split!({ servers: ['web1'], share: 0.1 }, soon())
    await here.balancer.drain('web1', options)
    assert.equal((await counts(here, 30)).web1, 0)
    await here.balancer.register('web1', options)
    await until(async () => assert.ok(Math.abs((await counts(here, 100)).web1! - 10) <= 3))
    await here.balancer[Symbol.asyncDispose]()
    await using next = openBalancer(here.fixture.config)
    await next.split!(null, soon())
    await until(async () => assert.ok(Math.abs((await counts(here, 100)).web1! - 25) <= 2))
  })

  test('a share for a server that does not exist is refused', async () => {
    await using here = await world()
    await assert.rejects(
      here.balancer.split!({ servers: ['web9'], share: 0.1 }, soon()),
      coded('balancer.unknown_server', /web9/),
    )
  })
}

/** The subject's balancer in front of `count` servers called web1, web2 …, each of which it sends traffic to. */
export async function contractWorld(
  subject: Pick<ContractSubject, 'start' | 'closesIdleConnections'>,
  count = 3,
): Promise<ContractWorld> {
  await using stack = new AsyncDisposableStack()
  const directory = stack.adopt(await mkdtemp(join(tmpdir(), 'dploy-balancer-')), (path) =>
    rm(path, { recursive: true, force: true }),
  )
  const backends: Backend[] = []
  for (let number = 1; number <= count; number++) backends.push(stack.use(await Backend.start(`web${number}`)))
  const fixture = stack.use(await subject.start(backends, directory))
  const users = stack.use(new Users(fixture.url, { repeat: subject.closesIdleConnections }))
  const balancer = stack.use(openBalancer(fixture.config))
  await until(async () => assert.equal(new Set(await users.names(4 * count)).size, count))
  const all = stack.move()
  return {
    backends,
    balancer,
    fixture,
    users,
    directory,
    backend: (name) => backends.find((one) => one.name === name)!,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

/** A request that some server holds. */
export async function inFlight(
  here: ContractWorld,
): Promise<{ slow: Promise<{ status: number; text: string }>; backend: Backend }> {
  const slow = here.users.get('/hold')
  slow.catch(() => {})
  const backend = await Promise.race(here.backends.map(async (one) => (await one.holding(), one)))
  return { slow, backend }
}

/** Waits until the balancer says of a server what is asked for. */
export async function reads(
  here: Pick<ContractWorld, 'balancer'>,
  server: string,
  wanted: (seen: Awaited<ReturnType<Balancer['read']>>[number]) => boolean,
): Promise<void> {
  await until(async () => {
    const [seen] = await here.balancer.read([server], soon())
    assert.ok(wanted(seen!), `the balancer says ${JSON.stringify(seen)}`)
  })
}

/** Calls `attempt` until it does not throw; throws what it threw last. Milliseconds. */
export async function until(attempt: () => Promise<void>, timeout = 5_000): Promise<void> {
  const end = performance.now() + timeout
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (performance.now() > end) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** A coded error that names what it is about and says what to do. */
export function coded(code: ErrorCode, names: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof DployError, `no coded error: ${error}`)
    assert.equal(error.code, code, error.message)
    assert.match(error.message, names)
    assert.ok(error.fix.length > 10, 'it does not say what to do')
    assert.ok(error.where, 'it does not say where')
    return true
  }
}

export function soon(): AbortSignal {
  return AbortSignal.timeout(patience)
}

/** A port of 127.0.0.1 that nobody has. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
