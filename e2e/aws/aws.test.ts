import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Backend } from '../../src/balancers/contract-backend.ts'
import { balancerContract, coded, soon, until } from '../../src/balancers/contract-suite.ts'
import type { Balancer } from '../../src/balancers/contract.ts'
import { openBalancer } from '../../src/balancers/registry.ts'
import type { BalancerConfig } from '../../src/protocol/config/config.ts'
import { ElbServer, type ElbServerOptions } from './elb-server.ts'
import { Front } from './front.ts'
import type { Pool, PoolOptions } from './pool.ts'
import { QueryError } from './query.ts'

type Config = Extract<BalancerConfig, { kind: 'aws' }>

/** The SDK reads its credentials where it always does. */
const environment = {
  AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
  AWS_SECRET_ACCESS_KEY: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
  AWS_SESSION_TOKEN: 'session/token+example==',
  AWS_EC2_METADATA_DISABLED: 'true',
  AWS_CONFIG_FILE: '/dev/null',
  AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
}
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

async function place(
  options: Partial<PoolOptions> & { count?: number; server?: ElbServerOptions; registered?: boolean } = {},
): Promise<Place> {
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

async function elb(
  backends: readonly Backend[],
  options: Partial<PoolOptions> & { registered?: boolean },
  serverOptions: ElbServerOptions = {},
): Promise<{ server: ElbServer; pool: Pool; config: Config }> {
  const { registered = true, ...poolOptions } = options
  const byAddress = options.targetType === 'ip'
  const targets = Object.fromEntries(
    backends.map(({ name, port }, index) => [name, { id: byAddress ? '127.0.0.1' : instance(index + 1), port }]),
  )
  const server = await ElbServer.start({
    second: 100,
    ...serverOptions,
    instances: Object.fromEntries(backends.map((_, index) => [instance(index + 1), '127.0.0.1'])),
  })
  const pool = server.pool({ name: 'shop', ...poolOptions })
  if (registered) pool.register(Object.values(targets))
  const classic = options.kind === 'classic'
  const config: Config = {
    kind: 'aws',
    endpoint: server.endpoint,
    ...(classic ? { classic: ['shop'], region: server.region } : { target_groups: [server.arn('shop')] }),
    targets: Object.fromEntries(
      Object.entries(targets).map(([name, { id, port }]) => [name, [classic ? id : `${id}:${port}`]]),
    ),
  }
  return { server, pool, config }
}

async function healthy(pool: Pool): Promise<void> {
  await until(async () =>
    assert.deepEqual(new Set(pool.targets.map((target) => pool.state(target).state)), new Set(['healthy'])),
  )
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
    capabilities: { countsInFlight: false, counts: false, drains: true, reloads: false, absentIsOut: true },
    seesServersDown: true,
    splits: false,
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
      {
        what: 'a target group that does not exist',
        code: 'balancer.unknown_backend',
        names: /DescribeTarget\w+ of the target group shap: TargetGroupNotFound/,
        make: (config) =>
          wrong({ target_groups: [(config as Config).target_groups![0]!.replace('/shop/', '/shap/')] })(config),
      },
      {
        what: 'an endpoint where nothing listens',
        code: 'balancer.unreachable',
        names: /ECONNREFUSED/,
        make: wrong({ endpoint: 'http://127.0.0.1:1' }),
      },
      {
        what: 'a region that is not the one of the API',
        code: 'balancer.refused',
        names: /region/,
        make: wrong({ region: 'us-east-1' }),
      },
    ],
  })
}

balancerContract({
  name: 'A Classic Load Balancer',
  skip: false,
  capabilities: { countsInFlight: false, counts: false, drains: true, reloads: false, absentIsOut: true },
  seesServersDown: true,
  splits: false,
  closesIdleConnections: false,
  // A classic balancer has one port for all instances: each has an address of its own.
  start: async (backends) => {
    const made = await elb(backends, { kind: 'classic', name: 'shop', registered: false })
    const forward = new Map(backends.map((backend, index) => [instance(index + 1), backend.port]))
    made.pool.portOf = (target) => forward.get(target.id)!
    made.pool.register(backends.map((_, index) => ({ id: instance(index + 1), port: 80 })))
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
    {
      what: 'a balancer that does not exist',
      code: 'balancer.unknown_backend',
      names: /Classic Load Balancer shap: AccessPointNotFound.*no ACTIVE Load Balancer named 'shap'/,
      make: wrong({ classic: ['shap'] }),
    },
    {
      what: 'an address where an instance is wanted',
      code: 'balancer.unknown_server',
      names: /takes instance ids, not 10\.0\.0\.1/,
      make: wrong({ targets: { web1: ['10.0.0.1'] } }),
    },
  ],
})

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
    assert.equal(Object.keys(call!.parameters).filter((name) => name.endsWith('.Id')).length, 4)
    assert.ok(here.server.count('DescribeTargetHealth') < 20, 'all wait for the same looks')
    assert.deepEqual(
      here.server.calls.filter(({ answer }) => answer !== 'ok'),
      [],
    )
  })

  test('in a bundle, an instance that AWS does not know spoils only the server it was written for', async () => {
    await using here = await place({ count: 3 })
    here.server.instances.delete(instance(2))
    const [one, two, three] = await Promise.allSettled(
      ['web1', 'web2', 'web3'].map((name) => here.balancer.drain(name, options())),
    )
    assert.deepEqual([one!.status, two!.status, three!.status], ['fulfilled', 'rejected', 'fulfilled'])
    coded(
      'balancer.unknown_server',
      new RegExp(`DeregisterTargets of the target group shop: InvalidTarget.*${instance(2)}`),
    )((two as PromiseRejectedResult).reason)
  })

  test('a drain ends when AWS no longer shows the target as draining, and not before', async () => {
    await using here = await place({ delay: 12 })
    const progress: (number | null)[] = []
    const began = performance.now()
    assert.deepEqual(await here.balancer.drain('web1', { ...options(), onProgress: (count) => progress.push(count) }), {
      inFlight: 0,
    })
    const took = performance.now() - began
    assert.ok(took >= 1_200, `${took} ms`)
    assert.deepEqual(progress, [null, 0], 'AWS does not say how many are in flight')
    const [seen] = await here.balancer.read(['web1'], soon())
    assert.deepEqual([seen!.admission, seen!.check], ['out', 'not registered'])
  })

  test('when the drain time is up before the deregistration delay, the answer says that it is not known what is in flight', async () => {
    await using here = await place({ delay: 300 })
    assert.deepEqual(await here.balancer.drain('web1', options(500)), { inFlight: null })
    const [seen] = await here.balancer.read(['web1'], soon())
    assert.deepEqual(
      [seen!.admission, seen!.check],
      ['draining', 'draining (Target.DeregistrationInProgress: Target deregistration is in progress)'],
    )
    await here.balancer.register('web1', options())
    assert.equal((await here.balancer.read(['web1'], soon()))[0]!.admission, 'ready')
  })

  test('a drain time of 0 asks once and does not wait', async () => {
    await using here = await place({ delay: 300 })
    assert.deepEqual(await here.balancer.drain('web1', options(0)), { inFlight: null })
    assert.deepEqual([here.server.count('DeregisterTargets'), here.server.count('DescribeTargetHealth')], [1, 0])
  })

  test('registering ends when AWS calls the target healthy, and not before', async () => {
    await using here = await place({ registered: false })
    here.backends[0]!.healthy = false
    let over = false
    const registered = here.balancer.register('web1', options()).finally(() => (over = true))
    await until(async () => assert.equal(here.pool.state(here.pool.targets[0]!).state, 'unhealthy'))
    assert.equal(over, false)
    here.backends[0]!.healthy = true
    await registered
    assert.equal(here.pool.state(here.pool.targets[0]!).state, 'healthy')
  })

  test('a target that never becomes healthy is reported with the reason that AWS gives', async () => {
    await using here = await place()
    await here.balancer.drain('web2', options())
    here.backends[1]!.healthy = false
    await assert.rejects(
      here.balancer.register('web2', options(1_500)),
      coded(
        'balancer.not_up',
        /target group shop does not see web2 as healthy after 1\.5 s: i-0598c7d356eba48d2:\d+ is unhealthy \(Target\.ResponseCodeMismatch: Health checks failed with these codes: \[503\]\)/,
      ),
    )
  })

  test('throttled calls are repeated with growing pauses, and the looks become fewer', async () => {
    await using here = await place()
    here.server.throttle(3, 'DeregisterTargets')
    await here.balancer.drain('web1', options())
    assert.deepEqual(
      [here.server.count('DeregisterTargets', 'Throttling'), here.server.count('DeregisterTargets')],
      [3, 1],
    )
    here.server.throttle(2, 'RegisterTargets')
    here.server.throttle(4, 'DescribeTargetHealth')
    await here.balancer.register('web1', options())
    assert.deepEqual([here.server.count('RegisterTargets', 'Throttling'), here.server.count('RegisterTargets')], [2, 1])
    assert.equal(here.server.count('DescribeTargetHealth', 'Throttling'), 4)
  })

  test('throttling that does not end is told as that', async () => {
    await using here = await place()
    await here.balancer.check(['web1'], soon())
    here.server.throttle(1000)
    const random = Math.random
    Math.random = () => 0.01
    try {
      await assert.rejects(
        here.balancer.drain('web1', options()),
        coded(
          'balancer.refused',
          /AWS throttles DeregisterTargets of the target group shop, 9 times in a row: Rate exceeded/,
        ),
      )
    } finally {
      Math.random = random
    }
  })

  test('credentials that are too old are told as that, and what to do', async () => {
    await using here = await place()
    here.server.expire()
    const expired = coded(
      'balancer.refused',
      /AWS refuses \w+ of the target group shop: ExpiredToken: The security token included in the request is expired/,
    )
    await assert.rejects(here.balancer.check(['web1'], soon()), expired)
    await assert.rejects(here.balancer.drain('web1', options()), expired)
    await assert.rejects(here.balancer.register('web1', options()), expired)
  })

  test('credentials that become too old while a drain waits end the wait', async () => {
    await using here = await place({ delay: 300 })
    const drained = here.balancer.drain('web1', { ...options(), onProgress: () => here.server.expire() })
    await assert.rejects(
      drained,
      coded('balancer.refused', /DescribeTargetHealth of the target group shop: ExpiredToken/),
    )
  })

  test('credentials that were renewed meanwhile are taken from the chain again', async () => {
    await using here = await place()
    await here.balancer.check(['web1'], soon())
    const renewed = { accessKeyId: 'AKIDRENEWED', secretAccessKey: 'renewed', sessionToken: 'renewed' }
    here.server.fault = (_, __, key) =>
      key === 'AKIDEXAMPLE'
        ? new QueryError('ExpiredToken', 'The security token included in the request is expired', 403)
        : null
    here.server.accepted.push(renewed)
    Object.assign(process.env, {
      AWS_ACCESS_KEY_ID: renewed.accessKeyId,
      AWS_SECRET_ACCESS_KEY: renewed.secretAccessKey,
      AWS_SESSION_TOKEN: renewed.sessionToken,
    })
    try {
      await here.balancer.drain('web1', options())
    } finally {
      Object.assign(process.env, environment)
    }
  })

  test('a permission that is missing is named', async () => {
    await using here = await place()
    here.server.deny('DeregisterTargets')
    await here.balancer.check(['web1'], soon())
    await assert.rejects(
      here.balancer.drain('web1', options()),
      coded(
        'balancer.refused',
        /DeregisterTargets of the target group shop: AccessDenied: .*not authorized to perform: elasticloadbalancing:DeregisterTargets/,
      ),
    )
  })

  test('without any credentials it says where they may come from', async () => {
    await using here = await place()
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN']) delete process.env[name]
    try {
      await assert.rejects(here.balancer.check(['web1'], soon()), coded('balancer.refused', /CredentialsProviderError/))
    } finally {
      Object.assign(process.env, environment)
    }
  })

  test('a secret that is wrong is told as that', async () => {
    await using here = await place()
    process.env['AWS_SECRET_ACCESS_KEY'] = 'another'
    try {
      await assert.rejects(here.balancer.check(['web1'], soon()), coded('balancer.refused', /SignatureDoesNotMatch/))
    } finally {
      Object.assign(process.env, environment)
    }
  })

  test('an API that is away for a moment while a drain waits does not end the wait', async () => {
    await using here = await place({ delay: 10 })
    let failed = 0
    here.server.fault = (action) =>
      action === 'DescribeTargetHealth' && failed++ < 5
        ? new QueryError('ServiceUnavailable', 'Service Unavailable', 503)
        : null
    assert.deepEqual(await here.balancer.drain('web1', options()), { inFlight: 0 })
    assert.equal(here.server.count('DescribeTargetHealth', 'ServiceUnavailable'), 5)
  })

  test('a server that a deployment which was cut off left out passes the check, and is drained and registered', async () => {
    await using here = await place()
    await here.balancer.drain('web1', options())
    await using next = openBalancer(here.config)
    await next.check(['web1', 'web2'], soon())
    assert.deepEqual(await next.drain('web1', options()), { inFlight: 0 })
    await next.register('web1', options())
  })

  test('a check reports an instance that AWS does not know', async () => {
    await using here = await place()
    await using balancer = openBalancer({ ...here.config, targets: { web1: ['i-0123456789abcdef0'] } })
    await assert.rejects(
      balancer.check(['web1'], soon()),
      coded('balancer.unknown_server', /InvalidTarget: .*'i-0123456789abcdef0'/),
    )
  })

  test('a check reports an address where the target group takes instances', async () => {
    await using here = await place()
    await using balancer = openBalancer({ ...here.config, targets: { web1: ['10.0.0.1'] } })
    await assert.rejects(
      balancer.check(['web1'], soon()),
      coded('balancer.unknown_server', /target group shop takes instance ids, not 10\.0\.0\.1/),
    )
  })

  test('a check reports a port of the same instance that dploy.yml does not name', async () => {
    await using here = await place()
    here.pool.register([{ id: instance(1), port: 81 }])
    await assert.rejects(
      here.balancer.check(['web1'], soon()),
      coded('balancer.unknown_server', /i-0598c7d356eba48d1 is in the target group shop on the port 81 too/),
    )
  })

  test('a check reports two servers that are the same target', async () => {
    await using here = await place()
    await using balancer = openBalancer({
      ...here.config,
      targets: { web1: here.config.targets['web1']!, web2: here.config.targets['web1']! },
    })
    await assert.rejects(
      balancer.check(['web1', 'web2'], soon()),
      coded('balancer.unknown_server', /web1 and web2 are the same target/),
    )
  })

  test('a check reports a target group that no load balancer uses', async () => {
    await using here = await place({ registered: false, used: false })
    await assert.rejects(
      here.balancer.check(['web1'], soon()),
      coded('balancer.unknown_backend', /No load balancer uses the target group shop/),
    )
  })

  test('servers without a written target are found by the instance id that their agent read', async () => {
    await using here = await place({ registered: false, port: 80 })
    here.server.pool({ name: 'shop', port: here.backends[0]!.port })
    await using balancer = openBalancer({ ...here.config, targets: {} }, async (name) =>
      name === 'web1' ? { instanceId: instance(1) } : null,
    )
    await balancer.register('web1', options())
    assert.deepEqual(here.server.pools.get('shop')!.targets, [{ id: instance(1), port: here.backends[0]!.port }])
    await assert.rejects(
      balancer.check(['web2'], soon()),
      coded('balancer.unknown_server', /not known which instance web2 is/),
    )
  })

  test('a server with several ports is drained and registered with all of them, in every target group', async () => {
    await using here = await place({ registered: false })
    const [one, two] = here.backends.map(({ port }) => ({ id: instance(1), port }))
    const second = here.server.pool({ name: 'internal' })
    for (const pool of [here.pool, second]) pool.register([one!, two!])
    await using balancer = openBalancer({
      ...here.config,
      target_groups: [here.server.arn('shop'), here.server.arn('internal')],
      targets: { web1: [`${one!.id}:${one!.port}`, `${two!.id}:${two!.port}`] },
    })
    await balancer.check(['web1'], soon())
    await balancer.drain('web1', options())
    assert.deepEqual([here.pool.targets, second.targets], [[], []])
    await balancer.register('web1', options())
    assert.deepEqual(
      [here.pool.targets, second.targets],
      [
        [one, two],
        [one, two],
      ],
    )
    assert.equal(here.server.count('DeregisterTargets'), 2)
  })

  test('what is slow at AWS is told: how much of the deployment, and by which setting', async () => {
    await using here = await place({ delay: 60, interval: 5 })
    await here.balancer.check(['web1', 'web2'], soon())
    const minute = 60_000
    assert.deepEqual(here.balancer.advice!({ batches: 4, drain: 6 * minute, register: minute }), [
      'AWS may take 260 s of this deployment, 65 s in each of 4 batches: 240 s of 260 s is the deregistration delay of the target group shop',
    ])
    assert.match(
      here.balancer.advice!({ batches: 1, drain: minute / 2, register: minute }).join('\n'),
      /deregistration delay of the target group shop is 60 s, and timeouts\.drain is 30 s: requests that last longer are cut/,
    )
    assert.match(
      here.balancer.advice!({ batches: 1, drain: 6 * minute, register: 5_000 }).join('\n'),
      /may take 10 s to call a server healthy .*timeouts\.register is 5 s/,
    )
  })

  test('a deregistration delay that cuts requests, and a slow start that nobody waits for, are told', async () => {
    await using here = await place({ delay: 0, slowStart: 30 })
    await here.balancer.check(['web1', 'web2'], soon())
    const [cut, slow] = here.balancer.advice!({ batches: 2, drain: 30_000, register: 30_000 })
    assert.match(cut!, /target group shop does not wait for requests in flight \(deregistration delay 0 s\)/)
    assert.match(slow!, /grow for 30 s \(slow start\)/)
  })

  test('disposing of the driver ends what waits', async () => {
    await using here = await place({ delay: 300 })
    const drained = here.balancer.drain('web1', {
      ...options(),
      onProgress: () => setImmediate(() => void here.balancer[Symbol.asyncDispose]()),
    })
    await assert.rejects(drained, /no longer used/)
  })

  test('nothing is told of settings that are quick', async () => {
    await using here = await place({ delay: 5, interval: 5 })
    await here.balancer.check(['web1', 'web2'], soon())
    assert.deepEqual(here.balancer.advice!({ batches: 4, drain: 30_000, register: 30_000 }), [])
  })

  test('the SDK is loaded with the first call, not with dploy', async () => {
    const { execFile } = await import('node:child_process')
    const { promisify } = await import('node:util')
    const program = `await import(${JSON.stringify(new URL('../../src/balancers/registry.ts', import.meta.url).href)}); const { createRequire } = await import('node:module'); console.log(Object.keys(createRequire(import.meta.url).cache).filter((file) => file.includes('aws-sdk')).length)`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program])
    assert.equal(stdout.trim(), '0')
  })
})

describe('The server of the tests is strict', () => {
  const call = async (server: ElbServer, input: Record<string, unknown>, credentials = server.credentials) => {
    const sdk = await import('@aws-sdk/client-elastic-load-balancing-v2')
    const client = new sdk.ElasticLoadBalancingV2Client({
      endpoint: server.endpoint,
      region: server.region,
      credentials,
      maxAttempts: 1,
    })
    try {
      return await client.send(new sdk.DescribeTargetHealthCommand(input as never))
    } finally {
      client.destroy()
    }
  }

  test('it refuses what it does not know, what is not signed, and what is signed wrong', async () => {
    await using server = await ElbServer.start()
    server.pool({ name: 'shop' })
    const TargetGroupArn = server.arn('shop')
    await call(server, { TargetGroupArn })
    await assert.rejects(call(server, { TargetGroupArn, Include: ['All'] }), /Unknown parameters: Include\.member\.1/)
    await assert.rejects(call(server, { TargetGroupArn: 'shop' }), /is not a valid target group ARN/)
    await assert.rejects(call(server, { TargetGroupArn, Targets: [{ Id: 'i-0' }] }), { name: 'InvalidTargetException' })
    await assert.rejects(call(server, { TargetGroupArn }, { ...server.credentials, secretAccessKey: 'another' }), {
      name: 'SignatureDoesNotMatch',
    })
    await assert.rejects(call(server, { TargetGroupArn }, { ...server.credentials, accessKeyId: 'another' }), {
      name: 'InvalidClientTokenId',
    })
    const unsigned = await fetch(server.endpoint, {
      method: 'POST',
      body: new URLSearchParams({ Action: 'DescribeTargetHealth', Version: '2015-12-01', TargetGroupArn }),
    })
    assert.deepEqual(
      [unsigned.status, /<Code>(.*)<\/Code>/.exec(await unsigned.text())![1]],
      [403, 'MissingAuthenticationToken'],
    )
  })
})
