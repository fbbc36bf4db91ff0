import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { after, before, describe, test } from 'node:test'
import { unavailable, type Server } from '../fleet/fleet.ts'
import { startUsers } from '../traffic/users.ts'
import { World } from '../world.ts'

const reason = unavailable()

for (const user of ['root', 'deploy'] as const) {
  describe(`8 bare servers, reached by ssh as ${user === 'root' ? 'root' : 'a user with sudo -n'}, without a control plane`, { skip: reason ?? false, concurrency: 1, timeout: 280_000 }, () => {
    let world: World
    let laptop: Awaited<ReturnType<World['clone']>>

    before(async () => {
      world = await World.up({ servers: 8, ssh: user })
    })
    after(async () => world?.[Symbol.asyncDispose]())

    const allRun = async (text: string) => {
      for (const answer of await world.answers()) assert.match(answer, new RegExp(`^${text} `))
    }

    test('the first deployment from a fresh clone works', async (context) => {
      const began = performance.now()
      laptop = await world.clone('laptop')
      const { code, result, stderr } = await laptop.start('deploy', 'production').outcome
      assert.equal(result.state, 'succeeded', `${result.failure?.message} ${stderr}`)
      assert.equal(code, 0)
      await allRun('one')
      assert.match(stderr, /web1 gets Node/)
      context.diagnostic(`${((performance.now() - began) / 1000).toFixed(1)} s from git clone until all 8 serve, with Node sent to each of them`)
    })

    test('the second deployment is not noticed, and sends Node to nobody', async (context) => {
      await world.commit({ 'version.txt': 'two\n' }, 'Two')
      await laptop.pull()
      await using users = startUsers({ url: world.url, rate: 100 })
      const { code, result, stderr } = await laptop.start('deploy', 'production').outcome
      const seen = await users.stop()
      assert.equal(result.state, 'succeeded', result.failure?.message)
      assert.equal(code, 0)
      await allRun('two')
      seen.noRequestFailed()
      assert.equal(result.receipt!.traffic.failed, 0)
      assert.doesNotMatch(stderr, /gets Node/)
      context.diagnostic(`${result.seconds} s with 1 s bake, overhead ${Math.round(result.receipt!.overheadMs)} ms; users: ${seen.answers.length} requests, ${seen.stalled.length} stalled`)
    })

    test('between deployments nothing of dploy runs on a server but the application', async () => {
      for (const server of world.servers) assert.deepEqual(await processesOf(server), [])
    })
  })
}

/** Processes on a server that belong to dploy; waits a moment for those that are ending. */
async function processesOf(server: Server): Promise<string[]> {
  for (let tries = 0; ; tries++) {
    const all = (await server.mustExec('ps', ['-eo', 'args', '--no-headers'])).split('\n')
    const left = all.filter((line) => /\.mjs stdio|dploy (root|sudo|user)|\bkeeper\b/.test(line))
    if (left.length === 0 || tries === 50) return left
    await delay(100)
  }
}
