import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { unavailable } from '../fleet/fleet.ts'
import { startUsers } from '../traffic/users.ts'
import { World } from '../world.ts'

const missing = unavailable()

describe('a canary of one server in four, behind HAProxy, under load', { skip: missing === null ? false : missing, timeout: 240_000 }, () => {
  let world: World

  before(async () => {
    world = await World.up({ servers: 4, strategy: { kind: 'canary', canary: 1, judge: '4s', batch: '50%', bake: '500ms' } })
    assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
  })

  after(async () => {
    await world?.[Symbol.asyncDispose]()
  })

  const words = async () => (await world.answers()).map((answer) => answer.split(' ')[0])
  const notes = (events: { data: { kind: string; text?: string } }[]) => events.filter(({ data }) => data.kind === 'note').map(({ data }) => data.text).join('\n')

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
    assert.match(notes(events), /inconclusive: \d+ requests to the new release \(0 failed\) and \d+ to the old one \(0 failed\): too few to judge by/)
    seen.noRequestFailed()
  })

  test('that fails requests is switched back before its time is up, and the others never had the release', async (context) => {
    await world.configure({ strategy: { judge: '60s' } })
    await world.commit({ 'version.txt': 'bad fails=0.5\n' }, 'Bad')
    await using users = startUsers({ url: world.url, rate: 200 })
    const { result, code, events } = await world.dploy('deploy', 'production')
    const seen = await users.stop()
    assert.equal(code, 1)
    assert.equal(result.state, 'rolled_back')
    assert.equal(result.failure!.code, 'canary.failed')
    assert.equal(result.failure!.where, 'web1')
    assert.match(result.failure!.message, /% of the new release's requests failed, 0\.00 % of the old one's/)
    assert.ok(result.seconds < 20, `it took ${result.seconds} s`)
    assert.deepEqual(await words(), ['good', 'good', 'good', 'good'])
    assert.ok(!events.some(({ server, data }) => server !== null && server !== 'web1' && data.kind === 'step' && data.state === 'switched'))
    context.diagnostic(`${result.seconds} s; ${seen.failed.length} of ${seen.answers.length} requests failed; ${result.failure!.message}`)
  })

  test('of which too little is seen goes back where dploy.yml says so', async () => {
    await world.configure({ strategy: { judge: '2s', inconclusive: 'roll_back' } })
    await world.commit({ 'version.txt': 'quiet\n' }, 'Quiet')
    const { result } = await world.dploy('deploy', 'production')
    assert.equal(result.state, 'rolled_back')
    assert.equal(result.failure!.code, 'canary.inconclusive')
    assert.deepEqual(await words(), ['good', 'good', 'good', 'good'])
  })

  test('is judged again by the next control plane when the first was killed in the middle of it', async () => {
    await world.configure({ strategy: { judge: '3s' } })
    await world.commit({ 'version.txt': 'after\n' }, 'After')
    const deployment = world.start('deploy', 'production')
    await deployment.until(({ data }) => (data as { phase?: string }).phase?.startsWith('judging') === true)
    await world.killControl()
    await world.startControl()
    const { result } = await deployment.outcome
    assert.equal(result.state, 'succeeded', result.failure?.message)
    assert.deepEqual(await words(), ['after', 'after', 'after', 'after'])
  })
})
