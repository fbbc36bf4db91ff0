import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { Team } from '../commands/team.ts'
import { freePorts } from '../world.ts'

const program = '/usr/sbin/haproxy'

describe(
  'a server that a person drained, at a HAProxy that is started anew',
  { skip: existsSync(program) ? false : 'needs HAProxy', timeout: 60_000, concurrency: 1 },
  () => {
    let team: Team
    let haproxy: ChildProcess
    let socket: string

    const startHaproxy = async () => {
      const [port] = await freePorts(1)
      rmSync(socket, { force: true })
      writeFileSync(
        join(team.directory, 'haproxy.cfg'),
        `global
  stats socket ${socket} mode 600 level admin
defaults
  mode http
  timeout connect 1s
  timeout client 10s
  timeout server 10s
frontend in
  bind 127.0.0.1:${port}
  default_backend shop
backend shop
${team.names.map((name, index) => `  server ${name} 127.0.0.1:${index + 1}\n`).join('')}`,
      )
      haproxy = spawn(program, ['-db', '-f', join(team.directory, 'haproxy.cfg')], { stdio: 'ignore' })
      while (!existsSync(socket)) await delay(10)
    }
    const stopHaproxy = async () => {
      const exit = once(haproxy, 'exit')
      haproxy.kill('SIGKILL')
      await exit
    }
    /** Names of servers that get traffic. */
    const inTraffic = async () => {
      const asked = connect(socket)
      asked.end('show stat\n')
      const rows = (await text(asked)).split('\n').map((line) => line.split(','))
      const status = rows[0]!.indexOf('status')
      return rows
        .filter(
          ([backend, name, ...rest]) =>
            backend === 'shop' && team.names.includes(name!) && !/MAINT|DRAIN/.test(rest[status - 2]!),
        )
        .map(([, name]) => name)
    }
    const until = async (names: readonly string[]) => {
      for (const deadline = Date.now() + 10_000; ; await delay(50)) {
        const seen = await inTraffic()
        if (seen.join() === names.join()) return
        assert.ok(Date.now() < deadline, `in traffic: ${seen.join(', ')}`)
      }
    }

    before(async () => {
      team = await Team.up({ servers: 3 })
      socket = join(team.directory, 'haproxy.sock')
      const balancer = { kind: 'haproxy', address: `unix:${socket}`, backend: 'shop' }
      const config = JSON.stringify({
        application: 'shop',
        service: { command: 'node server.mjs', port: 3000 },
        environments: { production: { branch: 'main', servers: team.names.map((name) => ({ name })), balancer } },
      })
      await startHaproxy()
      await team.client.call('apply', { body: { text: config, base: team.directory } })
    })
    after(async () => {
      if (haproxy) await stopHaproxy()
      await team?.[Symbol.asyncDispose]()
    })

    test('is taken out again, alone, until it is ready', async () => {
      assert.equal((await team.dploy('server', 'drain', 'web2')).code, 0)
      assert.deepEqual(await inTraffic(), ['web1', 'web3'])
      await stopHaproxy()
      await startHaproxy()
      await until(['web1', 'web3'])
      assert.equal((await team.dploy('server', 'ready', 'web2')).code, 0)
      await until(['web1', 'web2', 'web3'])
      await delay(2_500)
      assert.deepEqual(await inTraffic(), ['web1', 'web2', 'web3'])
    })
  },
)
