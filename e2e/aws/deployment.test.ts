import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { until } from '../../src/balancers/contract-suite.ts'
import { unavailable, type Server } from '../fleet/fleet.ts'
import { startUsers } from '../traffic/users.ts'
import { World } from '../world.ts'
import { ElbServer } from './elb-server.ts'
import { Front } from './front.ts'
import { Metadata } from './metadata.ts'
import type { Pool, PoolTarget } from './pool.ts'
import { QueryError } from './query.ts'

const run = promisify(execFile)
const program = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const reason = unavailable()
const ids = ['i-0598c7d356eba48d1', 'i-0598c7d356eba48d2', 'i-0598c7d356eba48d3']

describe(
  'three servers behind an Application Load Balancer (our own server speaks for AWS), under load',
  { skip: reason ?? false, concurrency: 1, timeout: 300_000 },
  () => {
    const stack = new AsyncDisposableStack()
    let elb: ElbServer
    let pool: Pool
    let front: Front
    let world: World

    before(async () => {
      elb = stack.use(await ElbServer.start({ second: 500 }))
      pool = elb.pool({ name: 'shop', port: 3000, delay: 2, lag: 150, path: '/healthz' })
      front = stack.use(await Front.start(pool))
      // The control plane inherits them, as it would from the role of its instance.
      const { accessKeyId, secretAccessKey, sessionToken } = elb.credentials
      for (const [name, value] of Object.entries({
        AWS_ACCESS_KEY_ID: accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
        AWS_SESSION_TOKEN: sessionToken,
        AWS_EC2_METADATA_DISABLED: 'true',
        AWS_CONFIG_FILE: '/dev/null',
        AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
      })) {
        const former = process.env[name]
        process.env[name] = value
        stack.defer(() => (former === undefined ? void delete process.env[name] : void (process.env[name] = former)))
      }
      const targets = { web1: ids[0]!, web2: `${ids[1]!}:3000` }
      world = stack.use(
        await World.up({
          servers: 3,
          strategy: { batch: 1, bake: '500ms' },
          environment: {
            balancer: { kind: 'aws', endpoint: elb.endpoint, target_groups: elb.arn('shop'), targets },
            probe: front.url,
          },
        }),
      )
      world.servers.forEach((server, index) => elb.instances.set(ids[index]!, server.address))
      // web3 stands nowhere in dploy.yml: its agent reads what it is.
      const metadata = stack.use(
        await Metadata.start(
          world.fleet.hostAddress,
          (address) => ids[world.servers.findIndex((server) => address.endsWith(server.address))],
        ),
      )
      await useMetadata(world.servers[2]!, metadata.url)
      const first = await world.dploy('deploy', 'production')
      assert.equal(first.result.state, 'succeeded', JSON.stringify(first.result.failure))
      assert.equal(metadata.refused, 0)
    })
    after(() => stack.disposeAsync())

    const target = (index: number): PoolTarget => ({ id: ids[index]!, port: 3000 })
    const allRun = async (text: string) => {
      for (const answer of await world.answers()) assert.match(answer, new RegExp(`^${text} `))
    }
    const allHealthy = () =>
      assert.deepEqual(
        ids.map((_, index) => pool.state(target(index)).state),
        ['healthy', 'healthy', 'healthy'],
      )
    /** What was changed at AWS since `from`: `- ID` and `+ ID` in the order of the calls. */
    const changes = (from: number) =>
      elb.calls
        .slice(from)
        .filter(({ action, answer }) => /^(Der|R)egister/.test(action) && answer === 'ok')
        .flatMap(({ action, parameters }) =>
          Object.entries(parameters)
            .filter(([name]) => name.endsWith('.Id'))
            .map(([, id]) => `${action === 'RegisterTargets' ? '+' : '-'} ${id}`),
        )

    test('the first deployment registers every server, also the one that dploy.yml does not name a target for', () => {
      assert.deepEqual(new Set(pool.targets.map(({ id }) => id)), new Set(ids))
      allHealthy()
    })

    test('a rolling deployment takes one server after another out and back, and is not noticed', async (context) => {
      await world.commit({ 'version.txt': 'two\n' }, 'Two')
      const from = elb.calls.length
      await using users = startUsers({ url: front.url, rate: 100 })
      const { result } = await world.dploy('deploy', 'production')
      const seen = await users.stop()
      assert.equal(result.state, 'succeeded', JSON.stringify(result.failure))
      await allRun('two')
      allHealthy()
      seen.noRequestFailed()
      assert.deepEqual(
        changes(from),
        ids.flatMap((id) => [`- ${id}`, `+ ${id}`]),
      )
      assert.deepEqual(
        elb.calls.slice(from).filter(({ answer }) => answer !== 'ok'),
        [],
      )
      const since = (action: string, id: string) =>
        elb.calls.slice(from).find((call) => call.action === action && Object.values(call.parameters).includes(id))!.at
      for (const id of ids)
        assert.ok(
          since('RegisterTargets', id) - since('DeregisterTargets', id) >= 1_000,
          'it waits until the deregistration delay of 1 s is over',
        )
      context.diagnostic(
        `${result.seconds} s, ${elb.calls.length - from} calls to AWS; users: ${seen.answers.length} requests, ${seen.stalled.length} stalled`,
      )
    })

    test('throttling slows a deployment down, and nobody notices', async (context) => {
      await world.commit({ 'version.txt': 'three\n' }, 'Three')
      const from = elb.calls.length
      // Four calls are answered, then two are throttled, and so on.
      let turn = 0
      elb.fault = () => (turn++ % 6 >= 4 ? new QueryError('Throttling', 'Rate exceeded') : null)
      await using users = startUsers({ url: front.url, rate: 100 })
      const { result } = await world.dploy('deploy', 'production')
      elb.fault = () => null
      const seen = await users.stop()
      assert.equal(result.state, 'succeeded', JSON.stringify(result.failure))
      await allRun('three')
      seen.noRequestFailed()
      assert.deepEqual(
        changes(from),
        ids.flatMap((id) => [`- ${id}`, `+ ${id}`]),
      )
      const count = elb.calls.slice(from).filter(({ answer }) => answer === 'Throttling').length
      assert.ok(count >= 4, `${count} throttled`)
      context.diagnostic(`${result.seconds} s, ${count} of ${elb.calls.length - from} calls throttled`)
    })

    test('a deregistration that takes longer than the drain time is warned about, and not waited for', async () => {
      await world.configure({ environment: { timeouts: { drain: '1s' } } })
      await world.commit({ 'version.txt': 'four\n' }, 'Four')
      pool.options.delay = 40
      await using users = startUsers({ url: front.url, rate: 100 })
      const { result, events } = await world.dploy('deploy', 'production')
      pool.options.delay = 2
      const seen = await users.stop()
      assert.equal(result.state, 'succeeded', JSON.stringify(result.failure))
      await allRun('four')
      allHealthy()
      seen.noRequestFailed()
      const notes = events.filter(({ data }) => data.kind === 'note').map(({ data }) => data.text)
      assert.ok(
        notes.some((text) =>
          /deregistration delay of the target group shop is 40 s, and timeouts\.drain is 1 s: requests that last longer are cut/.test(
            text ?? '',
          ),
        ),
        notes.join('\n'),
      )
      assert.equal(
        notes.filter((text) => /the balancer still drains after 1\.\d* s; requests in flight are cut/.test(text ?? ''))
          .length,
        3,
        notes.join('\n'),
      )
      await world.configure()
    })

    test('what will be slow is told before, by the plan', async () => {
      await world.configure({ environment: { timeouts: { drain: '10m' } } })
      pool.options.delay = 60
      pool.options.interval = 5
      const { stdout } = await run(process.execPath, [program, 'plan', 'production'], {
        cwd: world.repository,
        env: { ...process.env, DPLOY_URL: '' },
      })
      pool.options.delay = 2
      pool.options.interval = 1
      assert.match(
        stdout,
        /warning .*AWS may take 195 s of this deployment, 65 s in each of 3 batches: 180 s of 195 s is the deregistration delay of the target group shop/,
      )
      await world.configure()
    })

    test('a server that AWS never calls healthy rolls the deployment back, and nobody notices', async () => {
      await world.configure({ environment: { timeouts: { register: '3s' } } })
      await world.commit({ 'version.txt': 'five\n' }, 'Five')
      // The load balancer cannot reach web2 once, as behind a wrong security group.
      let once = true
      pool.portOf = ({ id, port }) => {
        if (id !== ids[1] || !once) return port
        once = false
        return 9
      }
      await using users = startUsers({ url: front.url, rate: 100 })
      const { result } = await world.dploy('deploy', 'production')
      const seen = await users.stop()
      pool.portOf = ({ port }) => port
      assert.equal(result.state, 'rolled_back', JSON.stringify(result.failure))
      assert.equal(result.failure!.code, 'balancer.not_up')
      assert.equal(result.failure!.where, 'web2')
      assert.match(
        result.failure!.message,
        /target group shop does not see web2 as healthy after 3.* s: i-0598c7d356eba48d2:3000 is unhealthy \(Target\.FailedHealthChecks/,
      )
      await allRun('four')
      allHealthy()
      seen.noRequestFailed()
      await world.configure()
    })

    test('with credentials that are too old nothing begins', async () => {
      await world.commit({ 'version.txt': 'six\n' }, 'Six')
      const from = elb.calls.length
      elb.expire()
      const { result } = await world.dploy('deploy', 'production')
      elb.fault = () => null
      assert.equal(result.state, 'failed')
      assert.equal(result.failure!.code, 'balancer.refused')
      assert.match(result.failure!.message, /ExpiredToken: The security token included in the request is expired/)
      assert.deepEqual(changes(from), [])
      await allRun('four')
      allHealthy()
    })

    for (const [when, text, last, sent] of [
      ['before a server is back', 'six', 'RegisterTargets', ['-']],
      ['while a server is awaited', 'seven', 'DescribeTargetHealth', ['-', '+']],
    ] as const) {
      test(`credentials that become too old ${when} stop the deployment there, nobody notices, and renewed they let the next one end it`, async () => {
        await world.commit({ 'version.txt': `${text}\n` }, text)
        const from = elb.calls.length
        elb.fault = (action) => {
          if (action !== last || changes(from).length < sent.length) return null
          elb.expire()
          return elb.fault(action, {}, '')
        }
        await using users = startUsers({ url: front.url, rate: 100 })
        const { result } = await world.dploy('deploy', 'production')
        assert.equal(result.state, 'failed', JSON.stringify(result.failure))
        assert.match(
          result.failure!.message,
          /Rolled back, but web1 could not be: AWS refuses DeregisterTargets of the target group shop: ExpiredToken/,
        )
        assert.deepEqual(
          changes(from),
          sent.map((sign) => `${sign} ${ids[0]}`),
          'no further server was taken out',
        )
        elb.fault = () => null
        const again = await world.dploy('deploy', 'production')
        const seen = await users.stop()
        assert.equal(again.result.state, 'succeeded', JSON.stringify(again.result.failure))
        await allRun(text)
        allHealthy()
        seen.noRequestFailed()
      })
    }
  },
)

/** Starts the agent anew where this is the instance metadata service, and waits until it is connected again. */
async function useMetadata(server: Server, url: string): Promise<void> {
  const directory = '/etc/systemd/system/dploy-agent.service.d'
  await server.mustExec('mkdir', ['-p', directory])
  await server.write(`${directory}/metadata.conf`, `[Service]\nEnvironment=AWS_EC2_METADATA_SERVICE_ENDPOINT=${url}\n`)
  await server.mustExec('systemctl', ['daemon-reload'])
  const connected = async () =>
    (await server.mustExec('journalctl', ['--unit', 'dploy-agent', '--output', 'cat'])).split('connected to').length - 1
  await until(async () => assert.equal(await connected(), 1))
  await server.mustExec('systemctl', ['restart', 'dploy-agent'])
  await until(async () => assert.equal(await connected(), 2))
}
