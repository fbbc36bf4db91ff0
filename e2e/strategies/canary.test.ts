// Needs the machine to itself.
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { text } from 'node:stream/consumers'
import { unavailable } from '../fleet/fleet.ts'
import { startUsers } from '../traffic/users.ts'
import { freePorts, World } from '../world.ts'

const missing = unavailable()

describe(
  'a canary of one server in four, behind HAProxy, under load',
  { skip: missing === null ? false : missing, timeout: 240_000 },
  () => {
    let world: World

    before(async () => {
      const [log] = await freePorts(1)
      world = await World.up({
        servers: 4,
        log: log!,
        strategy: { kind: 'canary', canary: 1, judge: '4s', batch: '50%', bake: '500ms' },
      })
      assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
    })

    after(async () => {
      await world?.[Symbol.asyncDispose]()
    })

    const words = async () => (await world.answers()).map((answer) => answer.split(' ')[0])
    const notes = (events: { data: { kind: string; text?: string } }[]) =>
      events
        .filter(({ data }) => data.kind === 'note')
        .map(({ data }) => data.text)
        .join('\n')

    /** The weights of web1 to web4 at HAProxy, told by itself. */
    const weights = async () => {
      const socket = connect(join(world.directory, 'haproxy.sock'))
      socket.end('show servers state shop\n')
      const rows = (await text(socket))
        .split('\n')
        .map((line) => line.split(' '))
        .filter(([, backend]) => backend === 'shop')
      return rows.map((cells) => Number(cells[7]))
    }
    const judged = ({ data }: { data: object }) => (data as { phase?: string }).phase?.startsWith('judging') === true

    test('that answers as the others do lets them follow, and nobody notices', async () => {
      await world.commit({ 'version.txt': 'good\n' }, 'Good')
      await using users = startUsers({ url: world.url, rate: 100 })
      const deployment = world.start('deploy', 'production')
      await deployment.until(({ data }) => (data as { phase?: string }).phase?.startsWith('judging') === true)
      assert.deepEqual((await words()).toSorted(), ['good', 'one', 'one', 'one'], 'the others wait')
      const { result, events } = await deployment.outcome
      const seen = await users.stop()
      assert.equal(result.state, 'succeeded', result.failure?.message)
      assert.deepEqual(await words(), ['good', 'good', 'good', 'good'])
      // A hundred requests a second to it are too few in four seconds, which is said.
      assert.match(
        notes(events),
        /inconclusive: \d+ requests to the new release \(0 failed\) and \d+ to the old one \(0 failed\): too few to judge by/,
      )
      seen.noRequestFailed()
    })

    test('that fails requests is switched back before its time is up, and the others never had the release', async (context) => {
      // It is found within half a second: asked twenty times in a second, the probe may have met nothing by then.
      await world.configure({ strategy: { judge: '60s' }, environment: { probe: { url: world.url, interval: '5ms' } } })
      await world.commit({ 'version.txt': 'bad fails=0.5\n' }, 'Bad')
      await using users = startUsers({ url: world.url, rate: 200 })
      const { result, code, events } = await world.dploy('deploy', 'production')
      const seen = await users.stop()
      const noticed = (
        result.receipt as unknown as {
          traffic: { noticed: { status: number; server: string | null; logged: string | null }[] }
        }
      ).traffic.noticed
      for (const one of noticed.filter(({ status }) => status === 500))
        assert.match(
          one.logged ?? '',
          /^the balancer's log: web1 got it, connected in .*, the answer began after .*, status 500, ended as ----$/,
        )
      assert.ok(noticed.length > 0)
      assert.equal(code, 1)
      assert.equal(result.state, 'rolled_back')
      assert.equal(result.failure!.code, 'canary.failed')
      assert.equal(result.failure!.where, 'web1')
      assert.match(result.failure!.message, /% of the new release's requests failed, 0\.00 % of the old one's/)
      assert.ok(result.seconds < 20, `it took ${result.seconds} s`)
      assert.deepEqual(await words(), ['good', 'good', 'good', 'good'])
      assert.ok(
        !events.some(
          ({ server, data }) =>
            server !== null && server !== 'web1' && data.kind === 'step' && data.state === 'switched',
        ),
      )
      context.diagnostic(
        `${result.seconds} s; ${seen.failed.length} of ${seen.answers.length} requests failed; ${result.failure!.message}`,
      )
    })

    test('that answers later than the others is switched back by what HAProxy logs, though nothing fails', async (context) => {
      await world.configure({ strategy: { judge: '5s' } })
      await world.commit({ 'version.txt': 'slow takes=30\n' }, 'Slow')
      await using users = startUsers({ url: world.url, rate: 300 })
      const { result } = await world.dploy('deploy', 'production')
      const seen = await users.stop()
      assert.equal(result.state, 'rolled_back')
      assert.equal(result.failure!.code, 'canary.failed')
      assert.match(
        result.failure!.message,
        /The new release is slower: half of its answers take 3\d ms, of the old one's \d/,
      )
      assert.deepEqual(await words(), ['good', 'good', 'good', 'good'])
      seen.noRequestFailed()
      context.diagnostic(`${result.seconds} s; ${result.failure!.message}`)
    })

    test('of which too little is seen goes back where dploy.yml says so', async () => {
      await world.configure({ strategy: { judge: '2s', inconclusive: 'roll_back' } })
      await world.commit({ 'version.txt': 'quiet\n' }, 'Quiet')
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'rolled_back')
      assert.equal(result.failure!.code, 'canary.inconclusive')
      assert.deepEqual(await words(), ['good', 'good', 'good', 'good'])
    })

    test('is judged again by the next control plane when the first was killed in the middle of it, with the share of the traffic that it is given', async () => {
      await world.configure({ strategy: { judge: '3s', traffic: '10%' } })
      await world.commit({ 'version.txt': 'after\n' }, 'After')
      await using users = startUsers({ url: world.url, rate: 100 })
      const deployment = world.start('deploy', 'production')
      await deployment.until(judged)
      assert.deepEqual(await weights(), [85, 256, 256, 256], '85 of 853 are 10 %')
      await world.killControl()
      assert.deepEqual(await weights(), [85, 256, 256, 256], 'nobody is there, and the balancer keeps to it')
      await world.startControl()
      const { result } = await deployment.outcome
      assert.equal(result.state, 'succeeded', result.failure?.message)
      assert.deepEqual(await words(), ['after', 'after', 'after', 'after'])
      assert.deepEqual(await weights(), [1, 1, 1, 1])
      ;(await users.stop()).noRequestFailed()
    })

    test('keeps its share when HAProxy is started anew, while a person is waited for, and gives it back when it goes back', async () => {
      await world.configure({ strategy: { judge: '1s', traffic: '10%', pause: 'after_canary' } })
      await world.commit({ 'version.txt': 'shared\n' }, 'Shared')
      const deployment = world.start('deploy', 'production')
      await deployment.until(({ data }) => (data as { waiting?: object | null }).waiting != null)
      await world.restartHaproxy()
      const deadline = Date.now() + 5_000
      while ((await weights())[0] !== 85 && Date.now() < deadline)
        await new Promise((resolve) => setTimeout(resolve, 50))
      assert.deepEqual(await weights(), [85, 256, 256, 256])
      await world.dploy('abort', 'production').catch(() => {})
      assert.equal((await deployment.outcome).result.state, 'rolled_back')
      assert.deepEqual(await weights(), [1, 1, 1, 1])
      assert.deepEqual(await words(), ['after', 'after', 'after', 'after'])
    })
  },
)
