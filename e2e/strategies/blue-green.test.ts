// Needs the machine to itself.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { unavailable } from '../fleet/fleet.ts'
import { startUsers } from '../traffic/users.ts'
import { World } from '../world.ts'

const missing = unavailable()
const program = fileURLToPath(new URL('../../bin/dploy', import.meta.url))

describe(
  'two groups of two servers that take turns, behind HAProxy, under load',
  { skip: missing === null ? false : missing, timeout: 240_000, concurrency: 1 },
  () => {
    let world: World
    const tagged = () => ({
      servers: world.servers.map(({ name, address }, index) => ({
        name,
        address,
        tags: { colour: index < 2 ? 'blue' : 'green' },
      })),
    })
    const strategy = { kind: 'blue-green', groups: ['colour=blue', 'colour=green'], bake: '300ms' }
    const say = async (...args: string[]) =>
      (
        await promisify(execFile)(program, args, { cwd: world.repository, env: world.environment }).catch(
          (error: { stdout: string }) => error,
        )
      ).stdout
    const words = async () => (await world.answers()).map((answer) => answer.split(' ')[0])
    /** Who gets traffic, told by HAProxy. */
    const serving = async () => {
      const socket = connect(join(world.directory, 'haproxy.sock'))
      socket.end('show stat -1 4 -1\n')
      return (await text(socket))
        .split('\n')
        .map((line) => line.split(','))
        .filter(([backend, , , , , , , , , , , , , , , , , status]) => backend === 'shop' && status!.startsWith('UP'))
        .map(([, name]) => name)
    }
    const eventually = async <T>(look: () => Promise<T>, wanted: T) => {
      const deadline = Date.now() + 8_000
      let last = await look()
      while (JSON.stringify(last) !== JSON.stringify(wanted) && Date.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 50))
        last = await look()
      }
      assert.deepEqual(last, wanted)
    }

    before(async () => {
      world = await World.up({ servers: 4, strategy: { batch: '50%', bake: '300ms' } })
      await world.configure({ environment: tagged() })
      assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
    })
    after(async () => world?.[Symbol.asyncDispose]())

    test('where all serve until now, the second group gets the release and then the traffic; the first keeps the release before', async () => {
      await world.configure({ environment: tagged(), strategy })
      await world.commit({ 'version.txt': 'two\n' }, 'Two')
      const plan = await say('plan', 'production')
      assert.match(
        plan,
        /batch 1 +web3, web4: drain, activate\nswitch +the traffic to colour=green: web3, web4 come in, then web1, web2 go out and keep release 1/,
      )
      await using users = startUsers({ url: world.url, rate: 150 })
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'succeeded', result.failure?.message)
      assert.deepEqual(await serving(), ['web3', 'web4'])
      assert.deepEqual(await words(), ['one', 'one', 'two', 'two'])
      ;(await users.stop()).noRequestFailed()
      assert.deepEqual((result.receipt as unknown as { capacity: object }).capacity, { least: 1, mean: 1 })
    })

    test('the group that does not serve is idle and not drifted, converges to nothing, and stays out when HAProxy is started anew', async () => {
      const status = await say('status', 'production')
      assert.equal(status.match(/idle: its group does not serve/g)?.length, 2, status)
      assert.doesNotMatch(status, /drifted/)
      assert.doesNotMatch(await say('doctor', 'production'), /drifted/)
      await world.servers[0]!.mustExec('systemctl', ['restart', 'dploy-agent'])
      await world.restartHaproxy()
      await eventually(serving, ['web3', 'web4'])
      await say('server', 'ready', 'web1')
      assert.deepEqual(await serving(), ['web3', 'web4'])
      assert.deepEqual(await words(), ['one', 'one', 'two', 'two'])
    })

    test('a rollback is the traffic changing over: no bytes, no start, and nobody notices', async (context) => {
      await using users = startUsers({ url: world.url, rate: 150 })
      const { result, events } = await world.dploy('rollback', 'production')
      ;(await users.stop()).noRequestFailed()
      assert.equal(result.state, 'succeeded', result.failure?.message)
      assert.deepEqual(await serving(), ['web1', 'web2'])
      assert.equal(result.receipt!.bytes, 0)
      assert.ok(
        result.receipt!.servers.every(({ spans }) => !spans.some(({ name }) => name === 'boot' || name === 'switch')),
      )
      const at = (state: string) => events.find(({ data }) => data.kind === 'state' && data.state === state)!.at
      const took = at('baking') - at('activating')
      assert.ok(took < 1_000, `${took} ms from the commit point to the last server of the other group out`)
      context.diagnostic(
        `${took} ms from the commit point to the last server of the other group out; ${at('baking') - at('staging')} ms from asking the servers`,
      )
    })

    test('a release that dies while its group is out of traffic is put back there, and users never saw it', async () => {
      await world.commit({ 'version.txt': 'bad unhealthy\n' }, 'Bad')
      await world.configure({
        environment: tagged(),
        strategy,
        service: { health: { path: '/healthz', timeout: '1s' } },
      })
      await using users = startUsers({ url: world.url, rate: 150 })
      const { result } = await world.dploy('deploy', 'production')
      ;(await users.stop()).noRequestFailed()
      assert.equal(result.state, 'rolled_back')
      assert.deepEqual(await serving(), ['web1', 'web2'])
      assert.deepEqual(await words(), ['one', 'one', 'two', 'two'], 'the other group has the release again that it had')
    })

    test('one that fails after the switch is switched back at once, to a group that never stopped', async () => {
      await world.commit({ 'version.txt': 'late dies=1500\n' }, 'Late')
      await world.configure({ environment: tagged(), strategy: { ...strategy, bake: '20s' } })
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'rolled_back')
      assert.deepEqual(await serving(), ['web1', 'web2'])
      assert.deepEqual(await words(), ['one', 'one', 'two', 'two'])
      assert.match(await say('status', 'production'), /web3 .*idle/)
    })

    test('a control plane that is killed while a person looks at the other group, and one in the middle of the switch, are gone on with', async () => {
      await world.commit({ 'version.txt': 'three\n' }, 'Three')
      await world.configure({ environment: tagged(), strategy: { ...strategy, pause: 'after_group' } })
      await using users = startUsers({ url: world.url, rate: 150 })
      const deployment = world.start('deploy', 'production')
      await deployment.until(({ data }) => (data as { waiting?: object | null }).waiting != null)
      assert.deepEqual(await words(), ['one', 'one', 'three', 'three'])
      assert.deepEqual(await serving(), ['web1', 'web2'])
      await world.killControl()
      assert.deepEqual(await serving(), ['web1', 'web2'])
      await world.startControl()
      const promoting = say('promote', 'production')
      await deployment.until(
        ({ data }) => (data as { phase?: string }).phase?.startsWith('the traffic goes to') === true,
      )
      await world.killControl()
      await world.startControl()
      await promoting
      const { result } = await deployment.outcome
      assert.equal(result.state, 'succeeded', result.failure?.message)
      await eventually(serving, ['web3', 'web4'])
      assert.deepEqual(await words(), ['one', 'one', 'three', 'three'])
      ;(await users.stop()).noRequestFailed()
    })

    test('back to rolling, all servers serve the wanted release', async () => {
      await world.configure({ environment: tagged(), strategy: { kind: 'rolling' } })
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'succeeded', result.failure?.message)
      assert.deepEqual(await words(), ['three', 'three', 'three', 'three'])
      assert.deepEqual(await serving(), ['web1', 'web2', 'web3', 'web4'])
    })
  },
)
