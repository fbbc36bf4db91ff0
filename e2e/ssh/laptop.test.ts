import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { unavailable, type Server } from '../fleet/fleet.ts'
import { startUsers } from '../traffic/users.ts'
import { World } from '../world.ts'

const reason = unavailable()
const run = promisify(execFile)

for (const user of ['root', 'deploy'] as const) {
  describe(
    `8 bare servers, reached by ssh as ${user === 'root' ? 'root' : 'a user with sudo -n'}, without a control plane`,
    { skip: reason ?? false, concurrency: 1, timeout: 280_000 },
    () => {
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
        context.diagnostic(
          `${((performance.now() - began) / 1000).toFixed(1)} s from git clone until all 8 serve, with Node sent to each of them`,
        )
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
        context.diagnostic(
          `${result.seconds} s with 1 s bake, overhead ${Math.round(result.receipt!.overheadMs)} ms; users: ${seen.answers.length} requests, ${seen.stalled.length} stalled`,
        )
      })

      // The same for every user.
      if (user === 'root')
        test('a jump host, a key that only ssh-agent has and shared connections of the person work as by hand, and the next command logs in nowhere', async (context) => {
          const [jump, ...others] = world.servers
          const agentSocket = join(world.directory, 'agent.sock')
          const agent = spawn('ssh-agent', ['-D', '-a', agentSocket], { stdio: 'ignore' })
          const config = join(world.directory, 'person-config')
          try {
            for (let tries = 0; tries < 100 && !existsSync(agentSocket); tries++) await delay(20)
            const fleet = readFileSync(world.fleet.sshConfig, 'utf8')
            const [, key] = /IdentityFile (\S+)/.exec(fleet)!
            await run('ssh-add', ['-q', key!], { env: { ...process.env, SSH_AUTH_SOCK: agentSocket } })
            writeFileSync(
              config,
              `Host ${others.map(({ name }) => name).join(' ')}
  ProxyJump ${jump!.name}
Host *
  IdentityAgent ${agentSocket}
  IdentityFile none
  ControlMaster auto
  ControlPath ${world.directory}/own-%C
  ControlPersist 60
${fleet.replaceAll(/^.*Identit.*$/gm, '')}`,
            )
            const began = await Promise.all(world.servers.map(logins))
            for (const command of ['deploy', 'rollback']) {
              await world.commit({ 'version.txt': 'by hand\n' }, 'By hand')
              await laptop.pull()
              const { result, stderr } = await world.startIn(laptop.directory, [command, 'production'], {
                DPLOY_SSH_CONFIG: config,
                SSH_AUTH_SOCK: '',
              }).outcome
              assert.equal(result.state, 'succeeded', `${result.failure?.message} ${stderr}`)
            }
            await allRun('two')
            const counts = await Promise.all(
              world.servers.map(async (server, index) => (await logins(server)).slice(began[index]!.length)),
            )
            for (const own of counts.slice(1)) {
              assert.equal(own.length, 1, own.join('\n'))
              assert.ok(own[0]!.includes(` from ${jump!.address} `), own[0])
            }
            context.diagnostic(`logins of two commands: ${counts.map((own) => own.length).join(', ')}`)
          } finally {
            for (const { name } of world.servers) await run('ssh', ['-F', config, '-O', 'exit', name]).catch(() => {})
            agent.kill()
            if (agent.exitCode === null) await once(agent, 'exit')
          }
        })

      test('between deployments nothing of dploy has to run on a server but the application', async () => {
        await world.closeConnections()
        await world.commit({ 'version.txt': 'three\n' }, 'Three')
        await laptop.pull()
        const { result } = await world.startIn(laptop.directory, ['deploy', 'production'], { DPLOY_SSH_WAIT: '0' })
          .outcome
        assert.equal(result.state, 'succeeded', result.failure?.message)
        for (const server of world.servers) assert.deepEqual(await processesOf(server), [])
      })
    },
  )
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

/** What sshd said of each login. */
async function logins(server: Server): Promise<string[]> {
  return (
    await server.mustExec('journalctl', ['--output', 'cat', '--identifier', 'sshd', '--identifier', 'sshd-session'])
  )
    .split('\n')
    .filter((line) => line.startsWith('Accepted '))
}
