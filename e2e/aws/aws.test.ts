import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Backend } from '../../src/balancers/contract-backend.ts'
import { balancerContract, coded, soon, until } from '../../src/balancers/contract-suite.ts'
import type { Balancer } from '../../src/balancers/contract.ts'
import { openBalancer } from '../../src/balancers/registry.ts'
import type { BalancerConfig } from '../../src/protocol/config.ts'
import { ElbServer, type ElbServerOptions } from './elb-server.ts'
import { Front } from './front.ts'
import type { Pool, PoolOptions } from './pool.ts'
import { QueryError } from './query.ts'

type Config = Extract<BalancerConfig, { kind: 'aws' }>

/** The SDK reads its credentials where it always does. */
const environment = { AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY', AWS_SESSION_TOKEN: 'session/token+example==', AWS_EC2_METADATA_DISABLED: 'true', AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null' }
const former = new Map(Object.keys(environment).map((name) => [name, process.env[name]]))
before(() => void Object.assign(process.env, environment))
after(() => {
  for (const [name, value] of former) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
})

/** Servers web1, web2 … on loopback, registered and healthy in one pool, and a driver for it. */
interface Place extends AsyncDisposable {
  server: ElbServer
  pool: Pool
  backends: Backend[]
  config: Config
  balancer: Balancer
}

async function place(options: Partial<PoolOptions> & { count?: number; server?: ElbServerOptions; registered?: boolean } = {}): Promise<Place> {
  await using stack = new AsyncDisposableStack()
  const { count = 2, server: serverOptions, registered = true, ...poolOptions } = options
  const backends: Backend[] = []
  for (let number = 1; number <= count; number++) backends.push(stack.use(await Backend.start(`web${number}`)))
  const made = await elb(backends, { ...poolOptions, registered }, serverOptions)
  stack.use(made.server)
  const balancer = stack.use(openBalancer(made.config))
  if (registered) await healthy(made.pool)
  const all = stack.move()
  return { ...made, backends, balancer, [Symbol.asyncDispose]: () => all.disposeAsync() }
}

async function elb(backends: readonly Backend[], options: Partial<PoolOptions> & { registered?: boolean }, serverOptions: ElbServerOptions = {}): Promise<{ server: ElbServer; pool: Pool; config: Config }> {
  const { registered = true, ...poolOptions } = options
  const byAddress = options.targetType === 'ip'
  const targets = Object.fromEntries(backends.map(({ name, port }, index) => [name, { id: byAddress ? '127.0.0.1' : instance(index + 1), port }]))
  const server = await ElbServer.start({ second: 100, ...serverOptions, instances: Object.fromEntries(backends.map((_, index) => [instance(index + 1), '127.0.0.1'])) })
  const pool = server.pool({ name: 'shop', ...poolOptions })
  if (registered) pool.register(Object.values(targets))
  const classic = options.kind === 'classic'
  const config: Config = {
    kind: 'aws',
    endpoint: server.endpoint,
    ...(classic ? { classic: ['shop'], region: server.region } : { target_groups: [server.arn('shop')] }),
    targets: Object.fromEntries(Object.entries(targets).map(([name, { id, port }]) => [name, [classic ? id : `${id}:${port}`]])),
  }
  return { server, pool, config }
}

async function healthy(pool: Pool): Promise<void> {
  await until(async () => assert.deepEqual(new Set(pool.targets.map((target) => pool.state(target).state)), new Set(['healthy'])))
}

function instance(number: number): string {
  return `i-0598c7d356eba48d${number}`
}

const options = (timeout = 10_000) => ({ timeout, signal: soon() })
const wrong = (change: Partial<Config>) => (config: BalancerConfig) => ({ ...(config as Config), ...change })

for (const [name, pool] of [
  ['An Application Load Balancer', { kind: 'application' }],
  ['A Network Load Balancer with addresses', { kind: 'network', targetType: 'ip' }],
] as [string, Partial<PoolOptions>][]) {
  balancerContract({
    name,
    skip: false,
    capabilities: { countsInFlight: false, counts: false, drains: true },
    seesServersDown: true,
    closesIdleConnections: false,
    start: async (backends) => {
      const made = await elb(backends, { ...pool, name: 'shop' })
      const front = await Front.start(made.pool)
      return {
        url: front.url,
        config: made.config,
        [Symbol.asyncDispose]: async () => {
          await front[Symbol.asyncDispose]()
          await made.server[Symbol.asyncDispose]()
        },
      }
    },
    mistakes: [
      { what: 'a target group that does not exist', code: 'balancer.unknown_backend', names: /DescribeTarget\w+ of the target group shap: TargetGroupNotFound/, make: (config) => wrong({ target_groups: [(config as Config).target_groups![0]!.replace('/shop/', '/shap/')] })(config) },
      { what: 'an endpoint where nothing listens', code: 'balancer.unreachable', names: /ECONNREFUSED/, make: wrong({ endpoint: 'http://127.0.0.1:1' }) },
      { what: 'a region that is not the one of the API', code: 'balancer.refused', names: /region/, make: wrong({ region: 'us-east-1' }) },
    ],
  })
}

describe('The AWS driver', () => {
  test('drains with one DeregisterTargets for all servers that are drained at once, and registers so', async () => {
    await using here = await place({ count: 4 })
    const names = ['web1', 'web2', 'web3', 'web4']
    await here.balancer.check(names, soon())
    await Promise.all(names.map((name) => here.balancer.drain(name, options())))
    await Promise.all(names.map((name) => here.balancer.register(name, options())))
    assert.equal(here.server.count('DeregisterTargets'), 1)
    assert.equal(here.server.count('RegisterTargets'), 1)
    const [call] = here.server.calls.filter(({ action }) => action === 'RegisterTargets')
    assert.deepEqual(Object.keys(call!.parameters).filter((name) => name.endsWith('.Id')).length, 4)
    assert.ok(here.server.count('DescribeTargetHealth') < 20, 'all wait for the same looks')
    assert.deepEqual(here.server.calls.filter(({ answer }) => answer !== 'ok'), [])
  })
})
