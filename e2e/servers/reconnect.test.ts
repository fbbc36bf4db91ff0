// Needs the machine to itself.
import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Team } from '../commands/team.ts'

const count = 64

describe(
  `${count} agents on one machine`,
  { skip: process.platform === 'linux' ? false : 'needs /proc', timeout: 240_000, concurrency: 1 },
  () => {
    let team: Team
    before(async () => {
      team = await Team.up({ servers: count })
      writeFileSync(
        join(team.directory, 'files.yml'),
        JSON.stringify({
          application: 'files',
          release: { directory: '/srv/files' },
          environments: { production: { servers: team.names, strategy: { kind: 'all-at-once', bake: '0s' } } },
        }),
      )
      mkdirSync(join(team.directory, 'public'))
    })
    after(async () => team?.[Symbol.asyncDispose]())

    const untilAllPresent = async () => {
      for (const deadline = Date.now() + 30_000; ; await delay(50)) {
        const { servers } = await team.client.call('servers')
        const present = servers.filter(({ connected }) => connected).length
        if (present === count) return
        assert.ok(Date.now() < deadline, `${present} of ${count} came back`)
      }
    }
    const deploy = (text: string) => {
      writeFileSync(join(team.directory, 'public/index.html'), text)
      return team.dploy('--config', 'files.yml', 'deploy', 'production', '--directory', 'public', '--json')
    }

    test('are present within 5 s after the control plane was killed and started again', async (context) => {
      await team.killControl()
      await team.startControl()
      const began = performance.now()
      await untilAllPresent()
      const seconds = (performance.now() - began) / 1000
      context.diagnostic(`${seconds.toFixed(2)} s`)
      assert.ok(seconds < 5, `${seconds} s`)
    })

    test('are so too after it was away for long, when their attempts are as rare as they get', async (context) => {
      await team.killControl()
      // Who knocks meanwhile is shown out: six times each, on average, and the delays have grown.
      const knocks = Promise.withResolvers<void>()
      let left = count * 6
      const away = createServer((socket: Socket) => {
        socket.on('error', () => {}).destroy()
        if (--left === 0) knocks.resolve()
      })
      await new Promise<void>((resolve) => away.listen(Number(new URL(team.url).port), '127.0.0.1', resolve))
      await knocks.promise
      await new Promise((resolve) => away.close(resolve))
      await team.startControl()
      const began = performance.now()
      const [deployed] = await Promise.all([
        deploy('in the storm'),
        untilAllPresent().then(() => context.diagnostic(`${((performance.now() - began) / 1000).toFixed(2)} s`)),
      ])
      assert.ok(performance.now() - began < 30_000)
      assert.equal(deployed.code, 0, deployed.stderr + deployed.stdout.toString().slice(-2_000))
      const { servers } = await team.client.call('status', {
        params: { application: 'files', environment: 'production' },
      })
      assert.equal(servers.filter(({ release }) => release === 1).length, count)
    })
  },
)
