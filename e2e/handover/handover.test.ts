// Needs the machine to itself.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { unavailable, type Server } from '../fleet/fleet.ts'
import { startUsers, type Seen } from '../traffic/users.ts'
import { World, type Outcome } from '../world.ts'

const reason = unavailable()
const application = readFileSync(new URL('application.mjs', import.meta.url), 'utf8')

for (const handover of ['port', 'socket'] as const) {
  describe(
    `two servers behind HAProxy that hand over warm by ${handover}`,
    { skip: reason ?? false, concurrency: 1, timeout: 280_000 },
    () => {
      let world: World

      before(async () => {
        world = await World.up({
          servers: 2,
          service: { handover, health: { path: '/healthz', timeout: '3s' } },
          strategy: { bake: '500ms' },
        })
        await world.commit({ 'server.mjs': application, 'version.txt': 'one\n' }, 'One')
        const first = await world.dploy('deploy', 'production')
        assert.equal(first.result.state, 'succeeded', first.result.failure?.message)
        assert.equal(planOf(first).warm, false)
      })
      after(async () => world?.[Symbol.asyncDispose]())

      test('a deployment boots beside, switches all at once, and nobody notices', async (context) => {
        await world.commit({ 'version.txt': 'two boot=300\n' }, 'Two')
        await world.servers[0]!.mustExec('systemd-run', [
          '--quiet',
          '--unit=left-behind',
          '--working-directory=/srv/shop/releases/1',
          'sleep',
          '300',
        ])
        const { outcome, seen } = await underLoad(world, () => world.dploy('deploy', 'production'))
        assert.equal(outcome.result.state, 'succeeded', outcome.result.failure?.message)
        assert.equal(planOf(outcome).warm, true)
        assert.deepEqual(
          planOf(outcome).batches.map(({ length }) => length),
          [2],
        )
        seen.noRequestFailed()
        await answersAre(world, 'two')
        const notes = outcome.events.flatMap(({ server, data }) =>
          data.kind === 'note' && /still runs/.test(data.text!) ? [`${server}: ${data.text}`] : [],
        )
        assert.equal(notes.length, 1, notes.join('\n'))
        assert.match(notes[0]!, /^web1: process \d+ still runs release 1 \(its directory\): \S*sleep 300$/)
        await world.servers[0]!.mustExec('systemctl', ['stop', 'left-behind'])
        context.diagnostic(tell(outcome, seen))
      })

      test('a rollback is another switch', async (context) => {
        const { outcome, seen } = await underLoad(world, () => world.dploy('rollback', 'production'))
        assert.equal(outcome.result.state, 'succeeded', outcome.result.failure?.message)
        assert.equal(planOf(outcome).warm, true)
        seen.noRequestFailed()
        await answersAre(world, 'one')
        context.diagnostic(tell(outcome, seen))
      })

      test('a release that never gets healthy changes nothing', async (context) => {
        await world.commit({ 'version.txt': 'three unhealthy=web2\n' }, 'Never healthy')
        const { outcome, seen } = await underLoad(world, () => world.dploy('deploy', 'production'))
        assert.equal(outcome.result.state, 'failed')
        assert.equal(outcome.result.failure!.code, 'service.unhealthy')
        assert.equal(outcome.result.failure!.where, 'web2')
        assert.ok(!outcome.events.some(({ data }) => data.state === 'activating'))
        seen.noRequestFailed()
        await answersAre(world, 'one')
        for (const server of world.servers) await until(async () => (await processesOf(server)) === 1)
        context.diagnostic(tell(outcome, seen))
      })

      if (handover === 'port') {
        test('a balancer that was started anew is told again where the releases listen', async () => {
          await world.restartHaproxy()
          await until(
            async () =>
              (await fetch(world.url).then(
                ({ status }) => status,
                () => 0,
              )) === 200,
          )
          await until(async () => {
            const names = new Set<string>()
            for (let index = 0; index < 8; index++)
              names.add((await (await fetch(world.url, { headers: { connection: 'close' } })).text()).trim())
            return [...names].every((answer) => answer.startsWith('one ')) && names.size === 2
          })
        })
      }

      test('a server that was switched off comes back with the same release, and the next deployment is warm', async () => {
        const [server] = world.servers
        await server!.poweroff()
        await server!.boot()
        await until(async () =>
          (
            await fetch(world.url).then(
              (answer) => answer.text(),
              () => '',
            )
          ).includes(`on ${server!.name}`),
        )
        await world.commit({ 'version.txt': 'back\n' }, 'Back')
        const outcome = await world.dploy('deploy', 'production')
        assert.equal(outcome.result.state, 'succeeded', outcome.result.failure?.message)
        assert.equal(planOf(outcome).warm, true)
        await answersAre(world, 'back')
      })

      test('a release that dies after the switch is rolled back to the one before', async (context) => {
        await world.configure({ strategy: { bake: '4s' } })
        await world.commit({ 'version.txt': 'four dies=2500\n' }, 'Dies')
        await using users = startUsers({ url: world.url, rate: 100, idempotent: true })
        const outcome = await world.dploy('deploy', 'production')
        const seen = await users.stop()
        assert.equal(outcome.result.state, 'rolled_back', outcome.result.failure?.message)
        assert.equal(outcome.result.failure!.code, 'service.exited')
        await answersAre(world, 'back')
        context.diagnostic(tell(outcome, seen))
      })
    },
  )
}

interface Plan {
  warm?: boolean
  batches: string[][]
}

function planOf(outcome: Outcome): Plan {
  return (outcome.events.find(({ data }) => data.kind === 'plan')!.data as unknown as { plan: Plan }).plan
}

async function underLoad(world: World, work: () => Promise<Outcome>): Promise<{ outcome: Outcome; seen: Seen }> {
  await using users = startUsers({ url: world.url, rate: 100 })
  const outcome = await work()
  return { outcome, seen: await users.stop() }
}

/**
 * Through the balancer, so often that each server has answered. A connection that the balancer keeps to the old release
 * is answered by it once more.
 */
async function answersAre(world: World, version: string): Promise<void> {
  await until(async () => {
    const answers: string[] = []
    for (let index = 0; index < world.servers.length * 3; index++)
      answers.push(await (await fetch(world.url, { headers: { connection: 'close' } })).text())
    return answers.every((answer) => answer.startsWith(`${version} `))
  })
}

async function processesOf(server: Server): Promise<number> {
  return (await server.mustExec('ps', ['-e', '-o', 'args'])).split('\n').filter((line) => line.includes('server.mjs'))
    .length
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 20_000
  while (!(await condition())) {
    assert.ok(performance.now() < end, `this never came true: ${condition.toString()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function tell({ result }: Outcome, seen: Seen): string {
  const spans = result.receipt!.servers.flatMap(({ name, spans }) =>
    spans.map((span) => `${name} ${span.name} ${Math.round(span.start)}-${Math.round(span.end)}`),
  )
  return `${result.state} after ${result.seconds} s; users: ${seen.answers.length} requests, ${seen.failed.length} failed, ${seen.stalled.length} stalled, p99 ${seen.quantile(0.99).toFixed(1)} ms; ${result.receipt!.phases.map(({ name, start, end }) => `${name} ${Math.round(end - start)}`).join(', ')}; ${spans.join(', ')}`
}
