import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { unavailable } from '../fleet/fleet.ts'
import { startUsers } from '../traffic/users.ts'
import { World, type Outcome } from '../world.ts'

const reason = unavailable()
const application = readFileSync(new URL('application.mjs', import.meta.url), 'utf8')
type Event = Outcome['events'][number]

for (const handover of ['port', 'socket'] as const) {
  describe(
    `kill -9 in the middle of a warm hand-over by ${handover}`,
    { skip: reason ?? false, concurrency: 1, timeout: 280_000 },
    () => {
      let world: World
      let count = 0

      before(async () => {
        world = await World.up({
          servers: 2,
          service: { handover, health: { path: '/healthz', timeout: '10s' } },
          strategy: { bake: '500ms' },
        })
        await world.commit({ 'server.mjs': application, 'version.txt': 'first\n' }, 'First')
        const first = await world.dploy('deploy', 'production')
        assert.equal(first.result.state, 'succeeded', first.result.failure?.message)
      })
      after(async () => world?.[Symbol.asyncDispose]())

      const moments: [string, string, (event: Event) => boolean][] = [
        [
          'boots beside',
          'boot=700',
          ({ data, server }) =>
            server === 'web2' && data.kind === 'progress' && (data as { phase?: string }).phase === 'health',
        ],
        ['is about to switch', '', ({ data }) => data.kind === 'state' && data.state === 'activating'],
        [
          'has switched',
          '',
          ({ data, server }) => server === 'web2' && data.kind === 'step' && data.state === 'switched',
        ],
      ]
      for (const [what, words, moment] of moments) {
        for (const victim of ['control plane', 'agent'] as const) {
          test(`of the ${victim} while a release ${what}: it ends on one release, and nobody notices`, async (context) => {
            const before = await theOneRelease(world)
            const version = `v${++count}`
            await world.commit({ 'version.txt': `${version} ${words}\n` }, version)
            await using users = startUsers({ url: world.url, rate: 100 })
            const running = world.start('deploy', 'production')
            await running.until(moment)
            if (victim === 'agent') {
              await world.servers[1]!.mustExec('systemctl', ['kill', '--kill-who=main', '--signal=KILL', 'dploy-agent'])
            } else {
              await world.killControl()
              await world.startControl()
            }
            const { result } = await running.outcome
            const now = await theOneRelease(world)
            const seen = await users.stop()
            assert.equal(now, result.state === 'succeeded' ? version : before)
            seen.noRequestFailed()
            context.diagnostic(
              `${result.state} after ${result.seconds} s; users: ${seen.answers.length} requests, ${seen.stalled.length} stalled`,
            )
          })
        }
      }

      test('afterwards a deployment is warm, and no release is left over', async () => {
        await world.commit({ 'version.txt': 'last\n' }, 'Last')
        const outcome = await world.dploy('deploy', 'production')
        assert.equal(outcome.result.state, 'succeeded', outcome.result.failure?.message)
        const plan = outcome.events.find(({ data }) => data.kind === 'plan')!.data as unknown as {
          plan: { warm: boolean }
        }
        assert.equal(plan.plan.warm, true)
        const allowed = handover === 'port' ? 2 : 1
        const end = performance.now() + 30_000
        for (const server of world.servers) {
          let left: string[]
          do
            left = (await server.mustExec('ps', ['-e', '-o', 'args']))
              .split('\n')
              .filter((line) => line.includes('server.mjs'))
          while (left.length > allowed && performance.now() < end)
          assert.ok(left.length <= allowed, left.join('\n'))
        }
      })
    },
  )
}

/** What all servers answer, asked through the balancer. */
async function theOneRelease(world: World): Promise<string> {
  const answers = new Set<string>()
  for (let index = 0; index < world.servers.length * 4; index++)
    answers.add((await (await fetch(world.url, { headers: { connection: 'close' } })).text()).split(' ')[0]!)
  assert.equal(answers.size, 1, [...answers].join(', '))
  return [...answers][0]!
}
