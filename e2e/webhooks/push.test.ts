import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { unavailable } from '../fleet/fleet.ts'
import { World } from '../world.ts'
import { githubPush, sendAsGithub } from './sender.ts'

const reason = unavailable()

describe(
  'a push on servers with agents behind HAProxy',
  { skip: reason ?? false, concurrency: 1, timeout: 280_000 },
  () => {
    let world: World
    let address: string
    let secret: string

    before(async () => {
      world = await World.up({ servers: 2 })
      assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
      const made = (await world.dploy('webhook', 'add', 'github', '--all')).result as unknown as {
        webhook: { url: string }
        secret: string
      }
      address = made.webhook.url
      secret = made.secret
    })
    after(async () => world?.[Symbol.asyncDispose]())

    const push = (commit: string, branch = 'main') => githubPush(pathToFileURL(world.repository).href, branch, commit)
    const deployments = async () =>
      (
        (await world.api('GET', '/api/v1/deployments?limit=50')) as {
          deployments: {
            number: number
            state: string
            requestedBy: string
            failure: { message: string } | null
            revision: { commit: string } | null
          }[]
        }
      ).deployments
    const until = async (settled: (all: Awaited<ReturnType<typeof deployments>>) => boolean) => {
      for (const deadline = Date.now() + 90_000; ; await delay(100)) {
        const all = await deployments()
        if (settled(all)) return all
        assert.ok(
          Date.now() < deadline,
          JSON.stringify(all.map(({ number, state, failure }) => ({ number, state, failure }))),
        )
      }
    }

    test('deploys the branch that was pushed, in the name of who pushed', async () => {
      const commit = await world.commit({ 'version.txt': 'pushed\n' }, 'Show the price with tax')
      const { status, body } = await sendAsGithub(address, secret, push(commit))
      assert.equal(status, 202, JSON.stringify(body))
      const [newest] = await until(([first]) => first!.number === 2 && first!.state === 'succeeded')
      assert.equal(newest!.revision!.commit, commit)
      assert.equal(newest!.requestedBy, 'anna (push to GitHub)')
      for (const answer of await world.answers()) assert.match(answer, /^pushed /)
    })

    test('starts nothing when it is forged, came before, or is of a branch that nobody follows', async () => {
      const commit = await world.commit({ 'version.txt': 'forged\n' }, 'Forge')
      assert.equal((await sendAsGithub(address, 'not the secret', push(commit))).status, 401)
      assert.equal((await sendAsGithub(address, secret, push(commit, 'feature'), { delivery: 'feature' })).status, 202)
      assert.equal((await sendAsGithub(address, secret, push(commit), { delivery: 'feature' })).body.state, 'known')
      await delay(1_000)
      assert.equal((await deployments()).length, 2)
      for (const answer of await world.answers()) assert.match(answer, /^pushed /)
    })

    test('takes the place of those that wait in line: the newest is deployed, and no other', async () => {
      await world.configure({ strategy: { bake: '6s' } })
      const running = world.start('deploy', 'production')
      await running.until((event) => event.data.kind === 'state' && event.data.state === 'staging')
      let commit = ''
      for (const version of ['one', 'two', 'three']) {
        commit = await world.commit({ 'version.txt': `${version}\n` }, version)
        assert.equal((await sendAsGithub(address, secret, push(commit))).status, 202)
      }
      assert.equal((await running.outcome).result.state, 'succeeded')
      const all = await until(
        (list) => list.length > 3 && list.every(({ state }) => ['succeeded', 'cancelled'].includes(state)),
      )
      const pushed = all.filter(({ number, requestedBy }) => number > 3 && requestedBy.includes('push'))
      assert.equal(pushed.filter(({ state }) => state === 'succeeded').length, 1, JSON.stringify(pushed))
      assert.equal(pushed[0]!.state, 'succeeded')
      assert.equal(pushed[0]!.revision!.commit, commit)
      for (const { failure } of pushed.slice(1)) assert.match(failure!.message, /newer push/)
      for (const answer of await world.answers()) assert.match(answer, /^three /)
    })
  },
)
