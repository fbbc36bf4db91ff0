import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
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
import { openBalancer } from '../registry.ts'
import { nginxBinary, startNginx, type RunningNginx } from './fixture.ts'
import { workersOf } from './processes.ts'

type Config = Extract<BalancerConfig, { kind: 'nginx' }>

const skip = nginxBinary() === null ? 'nginx is not installed' : process.platform === 'linux' ? false : 'needs /proc'
const wrong = (change: Partial<Config>) => (config: BalancerConfig) => ({ ...(config as Config), ...change })

balancerContract({
  name: 'nginx',
  skip,
  capabilities: { countsInFlight: true, counts: false, drains: true, reloads: true },
  seesServersDown: true,
  splits: false,
  closesIdleConnections: true,
  start: (backends, directory) => start(backends, directory),
  mistakes: [
    {
      what: 'a file that does not exist',
      code: 'balancer.unreachable',
      names: /\/nowhere\/upstream\.conf cannot be read: it does not exist/,
      make: wrong({ upstream_file: '/nowhere/upstream.conf' }),
    },
    {
      what: 'an upstream that the file does not have',
      code: 'balancer.unknown_backend',
      names: /has no upstream shop; it has web/,
      make: wrong({ upstream: ['shop'] }),
    },
    {
      what: 'an address that the upstream does not have',
      code: 'balancer.unknown_server',
      names: /no server 10\.9\.9\.9:80 for web1; it has 127\.0\.0\.1:\d+ \(web1\)/,
      make: wrong({ servers: { web1: ['10.9.9.9:80'] } }),
    },
    {
      what: 'a pid file of nothing that runs',
      code: 'balancer.unreachable',
      names: /nginx does not run: its pid file \/nowhere/,
      make: wrong({ pid_file: '/nowhere/nginx.pid' }),
    },
    {
      what: 'a test that fails',
      code: 'balancer.config_broken',
      names: /does not pass "echo broken; exit 3" \(exit code 3\): broken/,
      make: wrong({ test: 'echo broken; exit 3' }),
    },
  ],
})

describe('nginx', { skip }, () => {
  const world = (configure?: (text: string) => string) =>
    contractWorld({
      closesIdleConnections: true,
      start: (backends, directory) => start(backends, directory, configure),
    })

  test('a file that nginx does not read is reported', async () => {
    await using here = await world()
    const other = join(here.directory, 'other.conf')
    await writeFile(other, await readFile(nginxOf(here).upstreamFile))
    await using balancer = openBalancer({ ...(here.fixture.config as Config), upstream_file: other })
    await assert.rejects(
      balancer.check(['web1'], soon()),
      coded('balancer.refused', /does not read .*other\.conf; it reads .*nginx\.conf, .*upstream\.conf/),
    )
  })

  test('the file gets back word for word what was in it', async () => {
    await using here = await world()
    const before = await readFile(nginxOf(here).upstreamFile, 'utf8')
    await here.balancer.drain('web2', { timeout: 5_000, signal: soon() })
    assert.equal(await readFile(nginxOf(here).upstreamFile, 'utf8'), before.replace('; # web2', ' down; # web2'))
    await here.balancer.register('web2', { timeout: 5_000, signal: soon() })
    assert.equal(await readFile(nginxOf(here).upstreamFile, 'utf8'), before)
  })

  test('the drains of a batch are one reload', async () => {
    await using here = await world()
    const counting = {
      ...(here.fixture.config as Config),
      reload: `echo >> '${here.directory}/reloads'; ${nginxOf(here).reload}`,
    }
    await using balancer = openBalancer(counting)
    const options = { timeout: 5_000, signal: soon() }
    await Promise.all(['web1', 'web2'].map((name) => balancer.drain(name, options)))
    await Promise.all(['web1', 'web2'].map((name) => balancer.register(name, options)))
    assert.equal((await readFile(join(here.directory, 'reloads'), 'utf8')).length, 2)
  })

  test('a configuration that does not pass its test leaves the file as it was, and every server in traffic', async () => {
    await using here = await world()
    const { configFile, upstreamFile } = nginxOf(here)
    const [config, upstream] = await Promise.all([readFile(configFile, 'utf8'), readFile(upstreamFile, 'utf8')])
    await writeFile(configFile, config.replace('access_log off;', 'acces_log off;'))
    await assert.rejects(
      here.balancer.drain('web2', { timeout: 5_000, signal: soon() }),
      coded('balancer.config_broken', /does not pass .*unknown directive "acces_log"/s),
    )
    assert.equal(await readFile(upstreamFile, 'utf8'), upstream)
    assert.equal((await here.balancer.read(['web2'], soon()))[0]!.admission, 'ready')
    assert.deepEqual(new Set(await here.users.names(12)), new Set(['web1', 'web2', 'web3']))
    await writeFile(configFile, config)
    await here.balancer.drain('web2', { timeout: 5_000, signal: soon() })
    assert.deepEqual(new Set(await here.users.names(12)), new Set(['web1', 'web3']))
  })

  test('what passes the test but needs a restart is told, and the file is as it was', async () => {
    const zone = 'limit_req_zone $binary_remote_addr zone=all:1m rate=1000r/s;'
    await using here = await world((text) => text.replace('access_log off;', `access_log off;\n  ${zone}`))
    const { configFile, upstreamFile, errorLog } = nginxOf(here)
    const [config, upstream] = await Promise.all([readFile(configFile, 'utf8'), readFile(upstreamFile, 'utf8')])
    await writeFile(configFile, config.replace('$binary_remote_addr', '$remote_addr'))
    await using balancer = openBalancer({ ...(here.fixture.config as Config), reload_timeout: 500 })
    await balancer.check(['web1'], soon())
    await assert.rejects(balancer.drain('web2', { timeout: 5_000, signal: soon() }), (error) => {
      assert.match((error as { fix: string }).fix, /error log.*restart/)
      return coded('balancer.refused', /has not started new workers 500 ?ms after/)(error)
    })
    assert.match(
      await readFile(errorLog, 'utf8'),
      /limit_req "all" uses the "\$remote_addr" key while previously it used/,
    )
    assert.equal(await readFile(upstreamFile, 'utf8'), upstream)
    assert.deepEqual(new Set(await here.users.names(12)), new Set(['web1', 'web2', 'web3']))
  })

  test('what an old worker still answers counts until it ends, and holds up no other server', async () => {
    await using here = await world()
    const { slow, backend } = await inFlight(here)
    const waiting = Promise.withResolvers<void>()
    const drained = here.balancer.drain(backend.name, {
      timeout: 8_000,
      signal: soon(),
      onProgress: (count) => count === 1 && waiting.resolve(),
    })
    await waiting.promise
    const master = Number(await readFile(nginxOf(here).pidFile, 'utf8'))
    const workers = await workersOf(master)
    assert.equal(workers.filter((worker) => worker.shuttingDown).length, 1, 'the old worker that has it')
    assert.equal(workers.filter((worker) => !worker.shuttingDown).length, 2)
    const other = here.backends.find((one) => one !== backend)!
    assert.deepEqual(await here.balancer.drain(other.name, { timeout: 5_000, signal: soon() }), { inFlight: 0 })
    backend.release()
    assert.equal((await slow).status, 200)
    assert.deepEqual(await drained, { inFlight: 0 })
  })

  test('connections to the same server by others than nginx do not count', async () => {
    await using here = await world()
    const socket = connect(here.backend('web1').port, '127.0.0.1')
    await new Promise((resolve) => socket.once('connect', resolve))
    try {
      assert.deepEqual(await here.balancer.drain('web1', { timeout: 3_000, signal: soon() }), { inFlight: 0 })
    } finally {
      socket.destroy()
    }
  })

  test('a drain stays when somebody else writes the file as it was before', async () => {
    await using here = await world()
    const { upstreamFile } = nginxOf(here)
    const before = await readFile(upstreamFile, 'utf8')
    await here.balancer.drain('web3', { timeout: 5_000, signal: soon() })
    await writeFile(upstreamFile, before)
    await reads(here, 'web3', (seen) => seen.admission === 'out')
    await until(async () => assert.deepEqual(new Set(await here.users.names(12)), new Set(['web1', 'web2'])))
  })

  test('addresses in dploy.yml name servers whose lines have no name', async () => {
    await using here = await world()
    const { upstreamFile } = nginxOf(here)
    await writeFile(upstreamFile, (await readFile(upstreamFile, 'utf8')).replaceAll(/ #.*/g, ''))
    const servers = Object.fromEntries(here.backends.map(({ name, port }) => [name, [`127.0.0.1:${port}`]]))
    await using balancer = openBalancer({ ...(here.fixture.config as Config), servers })
    await balancer.check(['web1', 'web2', 'web3'], soon())
    await balancer.drain('web1', { timeout: 5_000, signal: soon() })
    assert.deepEqual(new Set(await here.users.names(12)), new Set(['web2', 'web3']))
    await using without = openBalancer({ ...(here.fixture.config as Config), servers: {} })
    await assert.rejects(
      without.check(['web1'], soon()),
      coded('balancer.unknown_server', /no server web1; it has 127/),
    )
  })
})

interface Fixture extends ContractFixture {
  nginx: RunningNginx
}

function nginxOf(here: { fixture: ContractFixture }): RunningNginx {
  return (here.fixture as Fixture).nginx
}

async function start(
  servers: readonly Backend[],
  directory: string,
  configure?: (text: string) => string,
): Promise<Fixture> {
  const nginx = await startNginx({
    directory,
    bind: `127.0.0.1:${await freePort()}`,
    upstream: 'web',
    servers,
    ...(configure && { configure }),
  })
  return {
    url: nginx.url,
    config: {
      kind: 'nginx',
      upstream_file: nginx.upstreamFile,
      upstream: ['web'],
      servers: {},
      check: '/healthz',
      test: nginx.test,
      reload: nginx.reload,
      pid_file: nginx.pidFile,
      reload_timeout: 10_000,
    },
    nginx,
    [Symbol.asyncDispose]: () => nginx[Symbol.asyncDispose](),
  }
}
