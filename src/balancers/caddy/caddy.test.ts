import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { BalancerConfig } from '../../protocol/config/config.ts'
import type { Backend } from '../contract-backend.ts'
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
import { AdminApi } from './admin-api.ts'
import { caddyBinary, startCaddy, type RunningCaddy } from './fixture.ts'
import { top } from './routes.ts'

type Config = Extract<BalancerConfig, { kind: 'caddy' }>

const skip = caddyBinary() === null ? 'Caddy is not installed' : false
const wrong = (change: Partial<Config>) => (config: BalancerConfig) => ({ ...(config as Config), ...change })

balancerContract({
  name: 'Caddy',
  skip,
  capabilities: { countsInFlight: true, counts: false, drains: true, reloads: true },
  seesServersDown: true,
  splits: false,
  closesIdleConnections: true,
  start: (backends, directory) => start(backends, directory),
  mistakes: [
    {
      what: 'an admin API that is not there',
      code: 'balancer.unreachable',
      names: /tcp:127\.0\.0\.1:1 cannot be reached: nothing listens there/,
      make: wrong({ address: ['tcp:127.0.0.1:1'] }),
    },
    {
      what: 'a handler that Caddy does not have',
      code: 'balancer.unknown_backend',
      names: /no reverse_proxy handler web; it has shop \(127\.0\.0\.1:\d+, /,
      make: wrong({ handler: ['web'] }),
    },
    {
      what: 'an address that the handler does not have',
      code: 'balancer.unknown_server',
      names: /handler shop .* has no server web1; it has 127\.0\.0\.1:\d+/,
      make: wrong({ servers: { web1: ['10.9.9.9:80'] } }),
    },
  ],
})

describe('Caddy', { skip }, () => {
  const world = (options?: Options) =>
    contractWorld({ closesIdleConnections: true, start: (backends, directory) => start(backends, directory, options) })
  const options = () => ({ timeout: 8_000, signal: soon() })

  test('the configuration is as before when every server is back', async () => {
    await using here = await world()
    const api = new AdminApi((here.fixture.config as Config).address[0]!)
    const before = (await api.get(top, soon())).value
    for (const { name } of here.backends) await here.balancer.drain(name, options())
    assert.equal((await here.users.get()).status, 503)
    for (const { name } of here.backends.toReversed()) await here.balancer.register(name, options())
    assert.deepEqual((await api.get(top, soon())).value, before)
  })

  test('a drain stays when Caddy loads its configuration from its file again', async () => {
    await using here = await world()
    await here.balancer.drain('web2', options())
    await (here.fixture as Fixture).caddy.reload()
    await reads(here, 'web2', (seen) => seen.admission === 'out')
    await until(async () => assert.deepEqual(new Set(await here.users.names(12)), new Set(['web1', 'web3'])))
    await here.balancer.register('web2', options())
    assert.equal(new Set(await here.users.names(12)).size, 3)
  })

  test('changes of somebody else at the same time are kept', async () => {
    await using here = await world()
    const api = new AdminApi((here.fixture.config as Config).address[0]!)
    const change = async (index: number) => {
      const path = `${top}/srv0/routes/0/handle/0/routes`
      for (;;) {
        const { value, tag } = await api.get(path, soon())
        const routes = value as object[]
        if (
          await api.replace(
            path,
            [
              { match: [{ path: [`/other-${index}`] }], handle: [{ handler: 'static_response', body: 'other' }] },
              ...routes,
            ] as never,
            tag,
            soon(),
          )
        )
          return
      }
    }
    await Promise.all([
      change(1),
      change(2),
      here.balancer.drain('web1', options()),
      here.balancer.drain('web3', options()),
    ])
    assert.deepEqual(new Set(await here.users.names(8)), new Set(['web2']))
    for (const path of ['/other-1', '/other-2']) assert.equal((await here.users.get(path)).text, 'other')
  })

  test('a handler without an id is named by its path, and the admin API may be a unix socket', async () => {
    await using here = await world({ socket: true })
    await using balancer = openBalancer({
      ...(here.fixture.config as Config),
      handler: ['/config/apps/http/servers/srv0/routes/0/handle/0/routes/0/handle/0'],
    })
    await balancer.check(['web1', 'web2', 'web3'], soon())
    await balancer.drain('web1', options())
    assert.deepEqual(new Set(await here.users.names(12)), new Set(['web2', 'web3']))
    await balancer.register('web1', options())
    assert.equal(new Set(await here.users.names(12)).size, 3)
  })

  test('several Caddies are drained together', async () => {
    await using here = await world()
    await mkdir(join(here.directory, 'second'))
    await using second = await start(here.backends, join(here.directory, 'second'))
    using others = new Users(second.url, { repeat: true })
    await using balancer = openBalancer({
      ...(here.fixture.config as Config),
      address: [...(here.fixture.config as Config).address, ...(second.config as Config).address],
    })
    await balancer.check(['web1', 'web2', 'web3'], soon())
    const slow = others.get('/hold')
    const backend = await Promise.race(here.backends.map(async (one) => (await one.holding(), one)))
    const waiting = Promise.withResolvers<void>()
    const drained = balancer.drain(backend.name, {
      ...options(),
      onProgress: (count) => count === 1 && waiting.resolve(),
    })
    await waiting.promise
    for (const users of [here.users, others]) assert.ok(!(await users.names(12)).includes(backend.name))
    backend.release()
    assert.equal((await slow).status, 200)
    assert.deepEqual(await drained, { inFlight: 0 })
  })

  test('a change that Caddy refuses is told with its reason, and nothing is changed', async () => {
    await using here = await world()
    const api = new AdminApi((here.fixture.config as Config).address[0]!)
    await assert.rejects(
      api.replace(top, { srv0: { listen: 'x' } }, null, soon()),
      coded('balancer.refused', /refuses PATCH .* \(5\d\d\): .*cannot unmarshal/),
    )
    assert.equal(new Set(await here.users.names(12)).size, 3)
  })

  test('a request in flight outlives further changes', async () => {
    await using here = await world()
    const { slow, backend } = await inFlight(here)
    const [one, two] = here.backends.filter((other) => other !== backend)
    const drained = here.balancer.drain(backend.name, options())
    await here.balancer.drain(one!.name, options())
    await here.balancer.register(one!.name, options())
    await here.balancer.drain(two!.name, options())
    await reads(here, backend.name, (seen) => seen.inFlight === 1 && seen.admission === 'draining')
    backend.release()
    assert.deepEqual(await slow, { status: 200, text: backend.name })
    assert.deepEqual(await drained, { inFlight: 0 })
  })
})

interface Options {
  socket?: boolean
}

interface Fixture extends ContractFixture {
  caddy: RunningCaddy
}

async function start(
  servers: readonly Backend[],
  directory: string,
  { socket = false }: Options = {},
): Promise<Fixture> {
  const admin = socket ? `unix:${directory}/admin.sock` : `tcp:127.0.0.1:${await freePort()}`
  const caddy = await startCaddy({ directory, bind: `127.0.0.1:${await freePort()}`, admin, id: 'shop', servers })
  return {
    url: caddy.url,
    config: {
      kind: 'caddy',
      address: [admin],
      handler: ['shop'],
      servers: Object.fromEntries(servers.map(({ name, port }) => [name, [`127.0.0.1:${port}`]])),
      check: '/healthz',
    },
    caddy,
    [Symbol.asyncDispose]: () => caddy[Symbol.asyncDispose](),
  }
}
