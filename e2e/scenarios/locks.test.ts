import assert from 'node:assert/strict'
import { createInterface } from 'node:readline'
import { mkdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { ended, Team } from '../commands/team.ts'

interface Line {
  type: string
  state?: string
  number?: number
  failure?: { code: string; message: string } | null
  held?: { number: number; state: string } | null
  server?: string | null
  data?: { kind: string; state?: string; phase?: string }
}

describe(
  'the lock of an environment',
  { skip: process.platform === 'linux' ? false : 'needs /proc', concurrency: 1, timeout: 120_000 },
  () => {
    let team: Team

    before(async () => {
      team = await Team.up({ servers: 3 })
      const servers = (...names: string[]) => ({ servers: names.map((name) => ({ name })) })
      const config = {
        application: 'shop',
        // Each environment stops before its switch for as long as its gate is there.
        hooks: { before_activate: `while [ -e ${team.directory}/gate-$DPLOY_ENVIRONMENT ]; do sleep 0.02; done` },
        environments: { production: servers('web1', 'web2'), staging: servers('web3') },
      }
      writeFileSync(join(team.directory, 'dploy.yml'), JSON.stringify(config))
      mkdirSync(join(team.directory, 'built'))
    })
    after(async () => team?.[Symbol.asyncDispose]())

    const close = (environment: string) => writeFileSync(join(team.directory, `gate-${environment}`), '')
    const open = (environment: string) => rmSync(join(team.directory, `gate-${environment}`), { force: true })
    const current = (name: string) => readlinkSync(join(team.root(name), 'srv/shop/current'))

    const linesOf = (text: string) =>
      text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Line)
    const run = async (...args: string[]): Promise<Line> => {
      const { stdout } = await ended(team.start(...args, '--json'))
      return linesOf(stdout.toString()).at(-1)!
    }

    /** Starts a deployment of what stands in a directory, with other content each time. */
    const deploy = (environment: string, ...more: string[]) => {
      writeFileSync(join(team.directory, 'built/page.html'), `${environment} ${Math.random()}`)
      const child = team.start('deploy', environment, '--directory', 'built', '--json', ...more)
      const lines: Line[] = []
      const waiting = new Set<() => void>()
      createInterface({ input: child.stdout! }).on('line', (line) => {
        lines.push(JSON.parse(line) as Line)
        for (const look of waiting) look()
      })
      const result = ended(child).then(({ code, stderr }) => ({
        code,
        stderr,
        ...lines.findLast(({ type }) => type === 'result')!,
      }))
      const until = (meant: (line: Line) => boolean) =>
        Promise.race([
          new Promise<void>((resolve) => {
            const look = () => lines.some(meant) && resolve()
            waiting.add(look)
            look()
          }),
          result.then((line) => Promise.reject(new Error(`it ended before: ${JSON.stringify(line)}`))),
        ])
      return { result, until }
    }
    const switching = ({ data }: Line) => data?.kind === 'progress' && data.phase === 'before_activate'

    test('is of that environment alone: another one is deployed meanwhile', async () => {
      close('production')
      const production = deploy('production')
      await production.until(switching)
      const staging = await deploy('staging').result
      assert.equal(staging.state, 'succeeded', JSON.stringify(staging.failure))
      const second = await deploy('production').result
      assert.equal(second.code, 1)
      assert.equal(second.failure!.code, 'environment.locked')
      open('production')
      assert.equal((await production.result).state, 'succeeded', JSON.stringify((await production.result).failure))
    })

    test('dploy unlock ends who holds it where it stands, and what that left half done converges', async () => {
      const before = current('web1')
      close('production')
      const held = deploy('production')
      await held.until(switching)
      const { held: said } = await run('unlock', 'production')
      assert.equal(said!.state, 'activating')
      const { code, state, failure } = await held.result
      assert.deepEqual([code, state, failure!.code], [1, 'failed', 'lock.lost'])
      assert.match(failure!.message, /was ended where it stood: .+ opened its lock/)
      assert.deepEqual([current('web1'), current('web2')], [before, before])
      const nobody = await run('unlock', 'staging')
      assert.deepEqual([nobody.type, nobody.state, nobody.held], ['result', 'succeeded', null])
      open('production')
      // It had passed its commit point: what the environment wants is its release, and so the next one finds all on one.
      const next = await deploy('production', '--wait').result
      assert.equal(next.state, 'succeeded', JSON.stringify(next.failure))
      assert.equal(current('web1'), current('web2'))
      assert.notEqual(current('web1'), before)
    })

    test('one that waits for it while the control plane is killed gets it from the next one', async () => {
      close('production')
      const running = deploy('production')
      await running.until(switching)
      const waiting = deploy('production', '--wait')
      const last = async () => (await team.client.call('deployments', { query: { limit: 1 } })).deployments[0]!.state
      for (let tries = 0; (await last()) !== 'queued'; tries++) {
        assert.ok(tries < 400, 'it does not wait')
        await delay(50)
      }
      await team.killControl()
      open('production')
      await team.startControl()
      const [first, second] = await Promise.all([running.result, waiting.result])
      assert.deepEqual(
        [first.state, second.state],
        ['succeeded', 'succeeded'],
        JSON.stringify([first.failure, second.failure]),
      )
      const { releases } = await team.client.call('releases', {
        params: { application: 'shop', environment: 'production' },
        query: { limit: 2 },
      })
      assert.equal(releases[0]!.wanted, true)
      for (const name of ['web1', 'web2']) assert.equal(current(name), `releases/${releases[0]!.number}`)
    })
  },
)
