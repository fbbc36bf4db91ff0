import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { unavailable } from '../fleet/fleet.ts'
import { World } from '../world.ts'

const missing = unavailable()
const marker = '/var/tmp/old-schema'

describe('a release command on two servers', { skip: missing === null ? false : missing, timeout: 120_000 }, () => {
  let world: World

  before(async () => {
    world = await World.up({ servers: 2, service: { health: { path: '/healthz', timeout: '3s' } } })
    for (const server of world.servers) await server.write(marker, '')
    await world.commit({ 'version.txt': `old needs=${marker}\n` }, 'Old')
    assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
  })

  after(async () => {
    await world?.[Symbol.asyncDispose]()
  })

  const everywhere = async (word: string) =>
    assert.deepEqual(
      (await world.answers()).map((answer) => answer.split(' ')[0]),
      [word, word],
    )

  test('that breaks the release that serves stops the deployment, and nothing is switched', async () => {
    await world.configure({ extra: { release_command: `rm ${marker}` } })
    await world.commit({ 'version.txt': 'new\n' }, 'New')
    const { code, result } = await world.dploy('deploy', 'production')
    assert.equal(code, 1)
    assert.equal(result.state, 'failed')
    assert.equal(result.failure!.code, 'release.old_unhealthy')
    assert.match(
      result.failure!.message,
      /release 1 is no longer healthy on web1: .*GET \/healthz on port 3000 answered 500/,
    )
    await everywhere('old')
  })

  test('what was ill before it does not count: the next deployment may be the cure', async () => {
    await world.configure({ extra: { release_command: 'true' } })
    assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
    await everywhere('new')
  })

  test('that takes longer than it may is ended with all that it started, and nothing is switched', async () => {
    await world.configure({ extra: { release_command: { command: 'sleep 3599 & sleep 3598', timeout: '1s' } } })
    await world.commit({ 'version.txt': 'late\n' }, 'Late')
    const { code, result } = await world.dploy('deploy', 'production')
    assert.deepEqual([code, result.state, result.failure?.code], [1, 'failed', 'release.command_failed'])
    assert.match(result.failure!.message, /did not end within 1 s|did not end within 1\.0 s/)
    const left = await Promise.all(
      world.servers.map((server) => server.exec('pgrep', ['-fc', 'sleep 359[89]']).then(({ stdout }) => stdout.trim())),
    )
    assert.deepEqual(left, ['0', '0'])
    await everywhere('new')
  })

  test('is not judged where dploy.yml says so', async () => {
    for (const server of world.servers) await server.write(marker, '')
    await world.configure({ extra: { release_command: 'true' } })
    await world.commit({ 'version.txt': `old needs=${marker}\n` }, 'Old again')
    assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
    await world.configure({ extra: { release_command: { command: `rm ${marker}`, check_old: false } } })
    await world.commit({ 'version.txt': 'new\n' }, 'New again')
    const { result } = await world.dploy('deploy', 'production')
    assert.equal(result.state, 'succeeded', result.failure?.message)
    await everywhere('new')
  })
})
