import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cpSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { unavailable } from '../fleet/fleet.ts'
import { startUsers } from '../traffic/users.ts'
import { World } from '../world.ts'

const missing = unavailable()
const run = promisify(execFile)
const program = fileURLToPath(new URL('../../bin/dploy', import.meta.url))

interface Status {
  wanted: { release: number; revision: { subject: string } } | null
  takenOver: { since: number; text: string; next: string } | null
  last: { number: number; state: string } | null
  servers: { name: string; connected: boolean; release: number | null; drifted: boolean; problem: unknown }[]
}
interface Listed {
  deployments: { number: number; kind: string; state: string; release: number | null; requestedBy: string }[]
}

describe(
  'from a laptop to a control plane and back, and an older control plane put in its place',
  { skip: missing === null ? false : missing, concurrency: 1, timeout: 280_000 },
  () => {
    let world: World
    let laptop: Awaited<ReturnType<World['clone']>>
    /** What the servers run. */
    let text = 'one'

    before(async () => {
      world = await World.up({ servers: 2, ssh: 'root', strategy: { batch: 1, bake: '200ms' } })
      laptop = await world.clone('laptop')
      for (const _ of [1, 2, 3]) await deployed(laptop.start('deploy', 'production'))
    })
    after(async () => world?.[Symbol.asyncDispose]())

    test('a new control plane deploys at once, goes on counting, and knows what was before', async () => {
      await world.startControl()
      await dploy('server', 'add', 'web1', 'web2')
      await using users = startUsers({ url: world.url, rate: 50, idempotent: true })
      const { deployment } = await deployNext('two')
      const seen = await users.stop()
      seen.noRequestFailed()
      assert.equal(deployment, 4)
      const { wanted, takenOver } = await status()
      assert.deepEqual([wanted?.release, takenOver], [4, null])
      const { deployments } = await history()
      assert.deepEqual(
        deployments.map(({ number, state, release }) => [number, state, release]),
        [4, 3, 2, 1].map((number) => [number, 'succeeded', number]),
      )
      const back = await world.dploy('rollback', 'production')
      assert.equal(back.result.state, 'succeeded', JSON.stringify(back.result.failure))
      assert.equal(back.result.receipt!.bytes, 0)
      await allRun('one')
      await deployNext('three')
    })

    test('a laptop goes on after it, and is told who else deploys here', async () => {
      await world.commit({ 'version.txt': 'four\n' }, 'Four')
      await laptop.pull()
      const { result, events } = await laptop.start('deploy', 'production').outcome
      assert.equal(result.state, 'succeeded', JSON.stringify(result.failure))
      assert.equal(result.deployment, 7)
      assert.match(events.map(({ data }) => data.text ?? '').join('\n'), /a control plane deployed here last/)
      await allRun((text = 'four'))
    })

    test('the control plane learns of it when its agents connect, undoes nothing, and deploys at once', async () => {
      await world.killControl()
      await world.startControl()
      const known = await untilTakenOver()
      assert.equal(known.wanted?.release, 6)
      assert.match(known.takenOver!.text, /deployment 7 of release 6/)
      await allRun('four')
      await deployNext('five')
      assert.equal((await status()).takenOver, null)
    })

    test('a copy from 5 deployments ago converges nothing by itself, says what it found, and deploys', async () => {
      const data = join(world.repository, '.dploy')
      const backup = join(world.directory, 'backup')
      await world.killControl()
      cpSync(data, backup, { recursive: true, filter: (path) => !path.endsWith('.sock') })
      await world.startControl()
      await connected()
      for (const next of ['six', 'seven', 'eight', 'nine', 'ten']) await deployNext(next)
      await world.killControl()
      rmSync(data, { recursive: true })
      renameSync(backup, data)
      await using users = startUsers({ url: world.url, rate: 50, idempotent: true })
      await world.startControl()
      const known = await untilTakenOver()
      assert.match(known.takenOver!.text, /deployment 13 of release 12/)
      assert.deepEqual([known.wanted?.release, known.wanted?.revision.subject], [12, 'ten'])
      assert.equal(known.last!.number, 13)
      assert.match(known.takenOver!.next, /dploy converge production/)
      // One that fell behind is a reason to converge it, but not before a person has looked.
      await world.servers[0]!.mustExec('systemctl', ['stop', 'dploy-shop-production'])
      await world.servers[0]!.mustExec('systemctl', ['restart', 'dploy-agent'])
      await connected()
      const { findings } = (await world
        .show('doctor', 'production')
        .catch((error: { stdout: string }) => JSON.parse(error.stdout))) as { findings: { code: string }[] }
      assert.ok(
        findings.some(({ code }) => code === 'environment.taken_over'),
        JSON.stringify(findings),
      )
      assert.deepEqual(
        (await history()).deployments.filter(({ kind }) => kind === 'converge'),
        [],
      )
      await dploy('converge', 'production')
      await untilNot(async () => (await world.answers()).some((answer) => !answer.startsWith('ten ')))
      assert.equal((await status()).takenOver, null)
      // It is over when the server is in traffic again.
      await untilNot(async () => (await status()).last?.state !== 'succeeded')
      const { deployment } = await deployNext('eleven')
      assert.ok(deployment! >= 14)
      const back = await world.dploy('rollback', 'production', '--release', '11')
      assert.equal(back.result.state, 'succeeded', JSON.stringify(back.result.failure))
      await allRun('nine')
      const seen = await users.stop()
      assert.deepEqual(seen.failed.slice(0, 3), [])
    })

    async function deployNext(next: string): Promise<{ deployment?: number }> {
      await world.commit({ 'version.txt': `${next}\n` }, next)
      const result = await deployed(world.start('deploy', 'production'))
      await allRun((text = next))
      return result
    }

    async function deployed(started: ReturnType<World['startIn']>) {
      const { result } = await started.outcome
      assert.equal(result.state, 'succeeded', JSON.stringify(result.failure))
      return result
    }

    async function allRun(wanted: string): Promise<void> {
      for (const answer of await world.answers()) assert.match(answer, new RegExp(`^${wanted} `), `after ${text}`)
    }

    async function dploy(...args: string[]): Promise<void> {
      await run(program, [...args, '--json'], { cwd: world.repository, env: world.environment })
    }

    const status = async () => (await world.api('GET', '/api/v1/environments/shop/production')) as Status
    const history = async () =>
      (await world.api('GET', '/api/v1/deployments?environment=production&application=shop')) as Listed
    const connected = () =>
      untilNot(async () => (await status()).servers.some(({ connected, problem }) => !connected || problem))

    async function untilTakenOver(): Promise<Status> {
      await connected()
      await untilNot(async () => (await status()).takenOver === null)
      return status()
    }

    async function untilNot(is: () => Promise<boolean>): Promise<void> {
      for (const end = Date.now() + 30_000; await is().catch(() => true); await delay(100))
        assert.ok(Date.now() < end, JSON.stringify(await status()))
    }
  },
)
