import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Team } from '../commands/team.ts'
import { freePorts } from '../world.ts'
import { standBetween } from './older.ts'

describe(
  'an agent and a control plane of which one is older than the other',
  { skip: process.platform === 'linux' ? false : 'needs /proc', concurrency: 1, timeout: 120_000 },
  () => {
    let team: Team
    let older: Awaited<ReturnType<typeof standBetween>>
    let ports: number[]
    let source: string
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', source, '-c', 'user.name=Anna', '-c', 'user.email=anna@example.org', ...args])
    const commit = (text: string) => {
      writeFileSync(
        join(source, 'server.cjs'),
        `console.log('begins ${text}'); require('node:http').createServer((_, response) => response.end('${text}')).listen(process.env.PORT); process.on('SIGTERM', () => process.exit(0))\n`,
      )
      git('add', '.')
      git('commit', '--quiet', '--message', text)
    }
    const answers = () => Promise.all(ports.map(async (port) => (await fetch(`http://127.0.0.1:${port}/`)).text()))
    const run = async (...args: string[]) => {
      const { code, stdout, stderr } = await team.dploy(...args)
      return { code, text: stdout.toString() + stderr }
    }

    before(async () => {
      team = await Team.up({ servers: 2 })
      ports = await freePorts(2)
      source = join(team.directory, 'application')
      mkdirSync(source)
      git('init', '--quiet', '--initial-branch=main')
      commit('one')
      writeFileSync(
        join(team.directory, 'dploy.yml'),
        JSON.stringify({
          application: 'shop',
          source,
          service: { command: `${process.execPath} server.cjs`, manager: 'process', port: 3000 },
          environments: {
            production: {
              branch: 'main',
              strategy: { bake: '0s' },
              servers: team.names.map((name, index) => ({ name, address: '127.0.0.1', port: ports[index] })),
            },
          },
        }),
      )
      older = await standBetween(team.url)
      await team.restartAgent(0, async () => {
        const file = join(team.root('web1'), 'var/lib/dploy/identity.json')
        writeFileSync(
          file,
          JSON.stringify({ ...(JSON.parse(readFileSync(file, 'utf8')) as object), control: older.url }),
        )
      })
      await team.untilConnected(20_000)
    })
    after(async () => {
      await team?.[Symbol.asyncDispose]()
      await older?.[Symbol.asyncDispose]()
    })

    test('deploy, roll back, and show what runs where and what it prints', async () => {
      for (const text of ['one', 'two']) {
        if (text !== 'one') commit(text)
        const deployed = await run('deploy', 'production', '--plain')
        assert.equal(deployed.code, 0, deployed.text)
        assert.deepEqual(await answers(), [text, text])
      }
      const back = await run('rollback', 'production', '--plain')
      assert.equal(back.code, 0, back.text)
      assert.deepEqual(await answers(), ['one', 'one'])
      const { code, text } = await run('status', 'production')
      assert.equal(code, 0, text)
      for (const name of team.names) assert.match(text, new RegExp(`${name} +1 +running`))
      const logs = await run('logs', 'production')
      for (const name of team.names) assert.match(logs.text, new RegExp(`${name} │ begins one`))
    })

    test('what the older one does not know is told as that, with what to do, and is done by the other', async () => {
      const mismatch = (what: string) =>
        new RegExp(
          `The agent of web1 is older than this control plane and does not know ${what} yet[\\s\\S]*next: .*dploy server add web1\\n[\\s\\S]*\\(protocol\\.mismatch\\)`,
        )
      const both = await run('exec', 'production', '--', 'echo here')
      assert.equal(both.code, 255)
      assert.match(both.text, /web2: here/)
      assert.match(both.text, mismatch('exec'))
      for (const [args, what] of [
        [['exec', '--on', 'web1', '--', 'true'], 'exec'],
        [['copy', 'dploy.yml', 'web1:/tmp/'], 'receive_file'],
        [['server', 'rotate-key', 'web1'], 'rotate_key'],
      ] as const) {
        const { code, text } = await run(...args)
        assert.notEqual(code, 0)
        assert.match(text, mismatch(what))
      }
      const doctor = await run('doctor', 'production')
      assert.match(
        doctor.text,
        /✓ web2\n +✗ web1 +The agent of web1 is older.*\(protocol\.mismatch\)\n +next: dploy server add web1\n/,
      )
      // Its own questions were answered as a control plane of then would have, and it asked no more.
      for (const deadline = Date.now() + 10_000; !older.unknown.includes('report'); await delay(100))
        assert.ok(Date.now() < deadline, older.unknown.join())
      const { servers } = await team.client.call('status', {
        params: { application: 'shop', environment: 'production' },
      })
      assert.ok(servers.every(({ connected }) => connected))
    })
  },
)
