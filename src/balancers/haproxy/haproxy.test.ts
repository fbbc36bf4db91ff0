import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text as streamText } from 'node:stream/consumers'
import { describe, test } from 'node:test'
import type { BalancerConfig } from '../../protocol/config/config.ts'
import { Backend } from '../contract-backend.ts'
import {
  balancerContract,
  coded,
  contractWorld,
  freePort,
  inFlight,
  reads,
  soon,
  until,
  type ContractFixture,
} from '../contract-suite.ts'
import { Users } from '../contract-users.ts'
import { openBalancer } from '../registry.ts'
import { haproxyBinary, startHaproxy, type HaproxyFixture, type RunningHaproxy } from './fixture.ts'

type Config = Extract<BalancerConfig, { kind: 'haproxy' }>

const skip = haproxyBinary() === null ? 'HAProxy is not installed' : false
const wrong = (change: Partial<Config>) => (config: BalancerConfig) => ({ ...(config as Config), ...change })

balancerContract({
  name: 'HAProxy',
  skip,
  capabilities: { countsInFlight: true, counts: true, drains: true, reloads: false },
  seesServersDown: true,
  splits: true,
  closesIdleConnections: false,
  start: (backends, directory) => start(backends, directory),
  mistakes: [
    {
      what: 'a backend that HAProxy does not have',
      code: 'balancer.unknown_backend',
      names: /no backend wep; it has web.*did you mean web\?/,
      make: wrong({ backend: ['wep'] }),
    },
    {
      what: 'a socket that does not exist',
      code: 'balancer.unreachable',
      names: /\/nowhere\.sock cannot be reached: there is no such socket/,
      make: wrong({ address: ['unix:/nowhere.sock'] }),
    },
    {
      what: 'a TCP address where nothing listens',
      code: 'balancer.unreachable',
      names: /tcp:127\.0\.0\.1:1 cannot be reached: nothing listens there/,
      make: wrong({ address: ['tcp:127.0.0.1:1'] }),
    },
  ],
})

describe('HAProxy', { skip }, () => {
  for (const [how, masterWorker] of [
    ['that starts a new process (-sf)', false],
    ['of a master and its worker', true],
  ] as const) {
    test(`a reload ${how} does not undo a drain`, async () => {
      await using here = await contractWorld({
        closesIdleConnections: false,
        start: (backends, directory) => start(backends, directory, { masterWorker }),
      })
      const { haproxy } = here.fixture as Fixture
      const options = { timeout: 10_000, signal: soon() }
      await here.balancer.drain('web2', options)
      await haproxy.reload()
      await reads(here, 'web2', (seen) => seen.admission === 'out')
      assert.deepEqual(new Set(await here.users.names(20)), new Set(['web1', 'web3']))
      await here.balancer.register('web2', options)
      assert.ok((await here.users.names(20)).includes('web2'))
      await haproxy.reload()
      await until(async () => assert.ok((await here.users.names(20)).includes('web2')))
    })
  }

  test('a reload that loads the state of before a register does not undo it; who is taken out by hand stays out', async () => {
    const files = { directory: '' }
    await using here = await contractWorld({
      closesIdleConnections: false,
      start: (backends, directory) => {
        files.directory = directory
        return start(backends, directory, {
          configure: (text) =>
            text
              .replace('global\n', `global\n  server-state-file ${join(directory, 'state')}\n`)
              .replace('defaults\n', 'defaults\n  load-server-state-from-file global\n'),
        })
      },
    })
    const { haproxy } = here.fixture as Fixture
    const options = { timeout: 10_000, signal: soon() }
    const ask = async (command: string) => {
      const socket = connect(haproxy.address.replace('unix:', ''))
      socket.end(`${command}\n`)
      return streamText(socket)
    }
    await here.balancer.drain('web2', options)
    // What systemd's ExecReload does, just before the register.
    await writeFile(join(files.directory, 'state'), await ask('show servers state'))
    await here.balancer.register('web2', options)
    await haproxy.reload()
    await reads(here, 'web2', (seen) => seen.admission === 'ready')
    await until(async () => assert.ok((await here.users.names(20)).includes('web2')))
    await ask('set server web/web2 state maint')
    // Longer than drivers look again: five times.
    for (const end = performance.now() + 1_000; performance.now() < end;)
      await reads(here, 'web2', (seen) => seen.admission === 'out')
  })

  test('a server gets another port: what is new goes there at once, what is under way ends where it began, and a reload does not undo it', async () => {
    await using here = await contractWorld({
      closesIdleConnections: false,
      start: (backends, directory) => start(backends, directory, { masterWorker: true }),
    })
    await using next = await Backend.start('next')
    const { slow, backend } = await inFlight(here)
    await here.balancer.readdress!(backend.name, next.port, soon())
    const first = await here.users.names(30)
    assert.ok(first.includes('next') && !first.includes(backend.name))
    backend.release()
    assert.equal((await slow).status, 200)
    // Its connection is kept by HAProxy, and leads to the former port until it is closed.
    await until(async () => assert.ok(!(await here.users.names(30)).includes(backend.name)))
    await (here.fixture as Fixture).haproxy.reload()
    await until(async () => {
      const names = await here.users.names(30)
      assert.ok(names.includes('next') && !names.includes(backend.name), names.join())
    })
    await here.balancer.readdress!(backend.name, backend.port, soon())
    assert.ok(!(await here.users.names(30)).includes('next'))
  })

  test('a reload does not undo a share of the traffic, and what comes back from it has the weights of haproxy.cfg', async () => {
    await using here = await contractWorld({
      closesIdleConnections: false,
      start: (backends, directory) =>
        start(backends, directory, {
          masterWorker: true,
          configure: (text) => text.replace(/(server web3 .*)/, '$1 weight 2'),
        }),
    })
    const web1 = async (count: number) => (await here.users.names(count)).filter((name) => name === 'web1').length
    await here.balancer.split!({ servers: ['web1'], share: 0.1 }, soon())
    await (here.fixture as Fixture).haproxy.reload()
    await until(async () => assert.ok(Math.abs((await web1(100)) - 10) <= 3))
    await here.balancer.split!(null, soon())
    await until(async () => assert.ok(Math.abs((await web1(100)) - 25) <= 3), 5_000)
    const names = await here.users.names(100)
    assert.ok(Math.abs(names.filter((name) => name === 'web3').length - 50) <= 3)
  })

  test('a backend whose weights cannot change is told before anything is switched', async () => {
    await using here = await contractWorld({
      closesIdleConnections: false,
      start: (backends, directory) =>
        start(backends, directory, { configure: (text) => text.replace('balance roundrobin', 'balance static-rr') }),
    })
    await assert.rejects(
      here.balancer.split!({ servers: ['web1'], share: 0.1 }, soon()),
      coded('balancer.cannot_split', /cannot change weights/),
    )
  })

  test('a request in flight gets all of its time when a reload in the middle of the drain hides it', async () => {
    await using here = await contractWorld({
      closesIdleConnections: false,
      start: (backends, directory) => start(backends, directory, { masterWorker: true }),
    })
    const { slow, backend } = await inFlight(here)
    const waiting = Promise.withResolvers<void>()
    let over = false
    const drained = here.balancer
      .drain(backend.name, { timeout: 2_000, signal: soon(), onProgress: (count) => count === 1 && waiting.resolve() })
      .finally(() => (over = true))
    await waiting.promise
    await (here.fixture as Fixture).haproxy.reload()
    await reads(here, backend.name, (seen) => seen.admission !== 'ready' && seen.inFlight === 0)
    assert.ok(!(await here.users.names(20)).includes(backend.name))
    assert.equal(over, false)
    backend.release()
    assert.equal((await slow).status, 200)
    assert.deepEqual(await drained, { inFlight: 1 })
  })

  test('several HAProxies are drained together, and each of them has to know the server', async () => {
    await using here = await contractWorld({ closesIdleConnections: false, start })
    const second = join(here.directory, 'second')
    await mkdir(second)
    await using other = await start(here.backends, second)
    using others = new Users(other.url, { repeat: false })
    await until(async () => assert.equal(new Set(await others.names(9)).size, 3))
    const both: Config = {
      ...(here.fixture.config as Config),
      address: [...(here.fixture.config as Config).address, ...(other.config as Config).address],
    }
    await using balancer = openBalancer(both)
    await balancer.check(['web1', 'web2', 'web3'], soon())

    const slow = others.get('/hold')
    const backend = await Promise.race(here.backends.map(async (one) => (await one.holding(), one)))
    let over = false
    const drained = balancer.drain(backend.name, { timeout: 10_000, signal: soon() }).finally(() => (over = true))
    await reads({ balancer }, backend.name, (seen) => seen.admission === 'draining' && seen.inFlight === 1)
    for (const users of [here.users, others]) assert.ok(!(await users.names(20)).includes(backend.name))
    assert.equal(over, false, 'the first HAProxy has nothing in flight, but the second has')
    backend.release()
    assert.equal((await slow).status, 200)
    assert.deepEqual(await drained, { inFlight: 0 })

    const before = (await balancer.counters(soon()))!
    await Promise.all([here.users.names(5), others.names(7)])
    await until(async () => assert.equal((await balancer.counters(soon()))!.requests - before.requests, 12))

    await using third = await startHaproxy({
      directory: await made(here.directory, 'third'),
      bind: `127.0.0.1:${await freePort()}`,
      backend: 'web',
      servers: here.backends.slice(0, 2),
      healthPath: '/healthz',
    })
    await using three = openBalancer({ ...both, address: [...both.address, third.address] })
    await assert.rejects(
      three.check(['web1', 'web3'], soon()),
      coded('balancer.unknown_server', /third.* has no server web3; it has web1, web2/),
    )
  })

  test('a server that stands in several backends is taken out of all', async () => {
    const ports = [await freePort(), await freePort()]
    const configure = (text: string) => `${text}
frontend api-in
  bind 127.0.0.1:${ports[1]}
  default_backend api
${text.slice(text.indexOf('\nbackend web\n')).replace('backend web', 'backend api')}`
    await using here = await contractWorld({
      closesIdleConnections: false,
      start: (backends, directory) => start(backends, directory, { configure }),
    })
    using api = new Users(`http://127.0.0.1:${ports[1]}`, { repeat: false })
    await until(async () => assert.equal(new Set(await api.names(9)).size, 3))
    await using balancer = openBalancer({ ...(here.fixture.config as Config), backend: ['web', 'api'] })
    await balancer.check(['web1', 'web2', 'web3'], soon())
    const slow = api.get('/hold')
    const backend = await Promise.race(here.backends.map(async (one) => (await one.holding(), one)))
    const drained = balancer.drain(backend.name, { timeout: 10_000, signal: soon() })
    await reads({ balancer }, backend.name, (seen) => seen.admission === 'draining' && seen.inFlight === 1)
    for (const users of [here.users, api]) assert.ok(!(await users.names(20)).includes(backend.name))
    backend.release()
    assert.equal((await slow).status, 200)
    assert.deepEqual(await drained, { inFlight: 0 })
    await balancer.register(backend.name, { timeout: 10_000, signal: soon() })
    for (const users of [here.users, api]) assert.ok((await users.names(20)).includes(backend.name))
  })

  const cookies = (text: string) =>
    text
      .replace('  balance roundrobin', '  balance roundrobin\n  cookie SRV insert indirect nocache')
      .replaceAll(/(  server (\w+) .* check)/g, '$1 cookie $2')
  const stickTable = (text: string) =>
    text.replace(
      '  balance roundrobin',
      '  balance roundrobin\n  stick-table type ip size 1k expire 1m\n  stick on src',
    )
  for (const [what, configure] of [
    ['cookies', cookies],
    ['a stick table', stickTable],
  ] as const) {
    test(`users whom ${what} leads to one server do not hold up its drain, and are answered elsewhere`, async () => {
      await using here = await stickyWorld(configure)
      using user = new StickyUser((here.fixture as Fixture).url)
      const name = await user.ask()
      const backend = here.backends.find((one) => one.name === name)!
      user.keepAsking()
      await until(async () => assert.ok(user.answers.length > 20))
      const slow = user.get('/hold')
      await backend.holding()
      const began = performance.now()
      const drained = here.balancer.drain(name, { timeout: 8_000, signal: soon() })
      await until(async () => assert.ok(user.answers.at(-1) !== name))
      backend.release()
      assert.equal((await slow).status, 200)
      assert.deepEqual(await drained, { inFlight: 0 })
      assert.ok(performance.now() - began < 4_000, 'it did not wait for its time to be up')
      const { requests } = backend
      await backend.stop()
      const count = user.answers.length
      await until(async () => assert.ok(user.answers.length > count + 50))
      assert.equal(backend.requests, requests)
      assert.deepEqual(user.failures, [])
      await backend.start()
      await here.balancer.register(name, { timeout: 5_000, signal: soon() })
      assert.deepEqual(user.failures, [])
    })
  }

  test('an agent that says "ready" does not put a server back that is drained, and is asked again afterwards', async () => {
    let said = 'ready up'
    const agent = createServer((socket) => void socket.on('error', () => {}).end(`${said}\n`))
    await new Promise<void>((resolve) => agent.listen(0, '127.0.0.1', resolve))
    const { port } = agent.address() as { port: number }
    try {
      const configure = (text: string) =>
        text.replace(/(  server web2 .* check)/, `$1 agent-check agent-inter 50ms agent-port ${port}`)
      await using here = await contractWorld({
        closesIdleConnections: false,
        start: (backends, directory) => start(backends, directory, { configure }),
      })
      await here.balancer.drain('web2', { timeout: 5_000, signal: soon() })
      const end = performance.now() + 500
      while (performance.now() < end) assert.ok(!(await here.users.names(6)).includes('web2'))
      await here.balancer.register('web2', { timeout: 5_000, signal: soon() })
      assert.ok((await here.users.names(9)).includes('web2'))
      said = 'drain'
      await until(async () => assert.ok(!(await here.users.names(9)).includes('web2')))
    } finally {
      agent.close()
    }
  })

  test('the Runtime API is reached by TCP as well', async () => {
    const port = await freePort()
    const configure = (text: string) =>
      text.replace('  stats timeout', `  stats socket ipv4@127.0.0.1:${port} level admin\n  stats timeout`)
    await using here = await contractWorld({
      closesIdleConnections: false,
      start: (backends, directory) => start(backends, directory, { configure }),
    })
    await using balancer = openBalancer({ kind: 'haproxy', address: [`tcp:127.0.0.1:${port}`], backend: ['web'] })
    await balancer.check(['web1', 'web2', 'web3'], soon())
    await balancer.drain('web1', { timeout: 10_000, signal: soon() })
    assert.ok(!(await here.users.names(20)).includes('web1'))
    await balancer.register('web1', { timeout: 10_000, signal: soon() })
    assert.ok((await here.users.names(20)).includes('web1'))
  })

  for (const level of ['operator', 'user']) {
    test(`a socket of level ${level} is reported before anything is switched`, async () => {
      await using here = await contractWorld({
        closesIdleConnections: false,
        start: (backends, directory) =>
          start(backends, directory, { configure: (text) => text.replace('level admin', `level ${level}`) }),
      })
      const refused = (error: unknown) =>
        coded('balancer.refused', /refuses commands/)(error) && /level admin/.test((error as { fix: string }).fix)
      await assert.rejects(here.balancer.check(['web1'], soon()), refused)
      await assert.rejects(here.balancer.drain('web1', { timeout: 1_000, signal: soon() }), refused)
      assert.equal(new Set(await here.users.names(9)).size, 3)
    })
  }
})

/** One user who keeps the cookies that were set, and asks on new connections, one after another. */
class StickyUser implements Disposable {
  readonly answers: string[] = []
  readonly failures: string[] = []
  readonly #url: string
  #cookie: string | null = null
  #over = false

  constructor(url: string) {
    this.#url = url
  }

  get(path: string): Promise<{ status: number; text: string; cookie: string | null }> {
    return new Promise((resolve, reject) => {
      httpRequest(
        new URL(path, this.#url),
        { agent: false, headers: this.#cookie === null ? {} : { cookie: this.#cookie } },
        (answer) => {
          let text = ''
          answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
          answer
            .once('end', () =>
              resolve({
                status: answer.statusCode!,
                text,
                cookie: answer.headers['set-cookie']?.[0]?.split(';')[0] ?? null,
              }),
            )
            .once('error', reject)
        },
      )
        .once('error', reject)
        .end()
    })
  }

  async ask(): Promise<string> {
    const { status, text, cookie } = await this.get('/')
    if (status !== 200) throw new Error(`answered ${status}`)
    this.#cookie = cookie ?? this.#cookie
    this.answers.push(text)
    return text
  }

  keepAsking(): void {
    if (this.#over) return
    void this.ask()
      .catch((error: Error) => this.failures.push(error.message))
      .then(() => setImmediate(() => this.keepAsking()))
  }

  [Symbol.dispose](): void {
    this.#over = true
  }
}

/** Without waiting until one user has been at every server, which is what persistence is against. */
async function stickyWorld(configure: (text: string) => string) {
  await using stack = new AsyncDisposableStack()
  const directory = stack.adopt(await mkdtemp(join(tmpdir(), 'dploy-sticky-')), (path) =>
    rm(path, { recursive: true, force: true }),
  )
  const backends = await Promise.all(['web1', 'web2', 'web3'].map(async (name) => stack.use(await Backend.start(name))))
  const fixture = stack.use(await start(backends, directory, { configure }))
  const balancer = stack.use(openBalancer(fixture.config))
  const all = stack.move()
  return { backends, fixture, balancer, [Symbol.asyncDispose]: () => all.disposeAsync() }
}

interface Fixture extends ContractFixture {
  haproxy: RunningHaproxy
}

async function start(
  servers: readonly Backend[],
  directory: string,
  options: Partial<HaproxyFixture> = {},
): Promise<Fixture> {
  const haproxy = await startHaproxy({
    directory,
    bind: `127.0.0.1:${await freePort()}`,
    backend: 'web',
    servers: [...servers],
    healthPath: '/healthz',
    checkInterval: '100ms',
    ...options,
  })
  return {
    url: haproxy.url,
    config: { kind: 'haproxy', address: [haproxy.address], backend: ['web'] },
    haproxy,
    [Symbol.asyncDispose]: () => haproxy[Symbol.asyncDispose](),
  }
}

async function made(directory: string, name: string): Promise<string> {
  await mkdir(join(directory, name))
  return join(directory, name)
}
