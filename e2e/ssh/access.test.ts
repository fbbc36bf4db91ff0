import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { ended, program } from '../commands/team.ts'
import { mustRun } from '../fleet/command.ts'
import { unavailable } from '../fleet/fleet.ts'
import { World } from '../world.ts'

const reason = unavailable()

describe(
  'two bare servers, as a person reaches and uses them over plain ssh',
  { skip: reason ?? false, concurrency: 1, timeout: 240_000 },
  () => {
    let world: World
    before(async () => {
      world = await World.up({ servers: 2, ssh: 'deploy', strategy: { bake: '0s' } })
      for (const server of world.servers) {
        // Their own Node, so that none is sent; and a user who may become root for one program alone.
        await server.mustExec('ln', ['-s', '/opt/dploy/node', '/usr/local/bin/node'])
        await server.mustExec('useradd', ['--create-home', '--shell', '/bin/bash', 'plain'])
        await server.mustExec('cp', ['-r', '/home/deploy/.ssh', '/home/plain/.ssh'])
        await server.mustExec('chown', ['-R', 'plain:plain', '/home/plain'])
      }
    })
    after(async () => world?.[Symbol.asyncDispose]())

    /** `dploy` without a terminal; `config`: under another ssh configuration. */
    const start = (args: string[], config?: string) =>
      spawn(process.execPath, [program, ...args], {
        cwd: world.repository,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...world.environment, NO_COLOR: '1', ...(config !== undefined && { DPLOY_SSH_CONFIG: config }) },
      })
    const dploy = async (...args: string[]) => {
      const { code, stdout, stderr } = await ended(start(args))
      return { code, stdout: stdout.toString(), stderr }
    }
    const allRun = async (text: string) => {
      for (const answer of await world.answers()) assert.match(answer, new RegExp(`^${text} `))
    }
    const asUser = (user: string, more: object = {}) =>
      world.configure({
        environment: { servers: world.servers.map(({ name }) => ({ name, address: `${user}@${name}` })) },
        ...more,
      })

    test('certificates of users and of hosts work as by hand; one that has expired is named', async () => {
      const file = (name: string) => join(world.directory, name)
      for (const name of ['user-ca', 'host-ca', 'anna'])
        await mustRun('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', file(name)])
      const sign = (validity: string) =>
        mustRun('ssh-keygen', [
          '-q',
          '-s',
          file('user-ca'),
          '-I',
          'anna',
          '-n',
          'deploy',
          '-V',
          validity,
          file('anna.pub'),
        ])
      await sign('-1m:+1h')
      for (const server of world.servers) {
        writeFileSync(file(`${server.name}.pub`), await server.read('/etc/ssh/ssh_host_ed25519_key.pub'))
        await mustRun('ssh-keygen', [
          '-q',
          '-s',
          file('host-ca'),
          '-I',
          server.name,
          '-h',
          '-n',
          `${server.name},${server.address}`,
          '-V',
          '-1m:+1h',
          file(`${server.name}.pub`),
        ])
        await server.write('/etc/ssh/host-cert.pub', readFileSync(file(`${server.name}-cert.pub`)))
        await server.write('/etc/ssh/user-ca.pub', readFileSync(file('user-ca.pub')))
        await server.write(
          '/etc/ssh/sshd_config.d/ca.conf',
          'TrustedUserCAKeys /etc/ssh/user-ca.pub\nHostCertificate /etc/ssh/host-cert.pub\n',
        )
        // No key of its own is known on either side.
        await server.mustExec('mv', ['/home/deploy/.ssh/authorized_keys', '/home/deploy/.ssh/away'])
        await server.mustExec('systemctl', ['restart', 'ssh'])
      }
      writeFileSync(file('known'), `@cert-authority * ${readFileSync(file('host-ca.pub'), 'utf8')}`)
      const hosts = world.servers.map(({ name, address }) => `Host ${name}\n  HostName ${address}\n`).join('')
      writeFileSync(
        file('config'),
        `${hosts}Host *\n  IdentityAgent none\n  IdentitiesOnly yes\n  IdentityFile ${file('anna')}\n  CertificateFile ${file('anna-cert.pub')}\n  GlobalKnownHostsFile none\n  UserKnownHostsFile ${file('known')}\n`,
      )
      const deploy = () =>
        world.startIn(world.repository, ['deploy', 'production'], { DPLOY_SSH_CONFIG: file('config') }).outcome
      try {
        const { result, stderr } = await deploy()
        assert.equal(result.state, 'succeeded', `${result.failure?.message} ${stderr}`)
        await allRun('one')
        await sign('-2h:-1h')
        await closeAll()
        const late = await deploy()
        assert.equal(late.result.failure?.code, 'ssh.permission_denied')
        assert.match(late.result.failure.message, /anna-cert\.pub ED25519-CERT SHA256:/)
        assert.equal(
          late.result.failure.fix,
          `See whether the certificate is still valid, and for deploy: ssh-keygen -L -f ${file('anna-cert.pub')}`,
        )
        // A host certificate of nobody who is known is an unknown host key.
        await sign('-1m:+1h')
        writeFileSync(file('known'), '')
        await closeAll()
        const unknown = await deploy()
        assert.equal(unknown.result.failure?.code, 'ssh.host_key_unknown')
      } finally {
        await closeAll()
        for (const server of world.servers) {
          await server.mustExec('mv', ['/home/deploy/.ssh/away', '/home/deploy/.ssh/authorized_keys'])
          await server.mustExec('rm', ['/etc/ssh/sshd_config.d/ca.conf'])
          await server.mustExec('systemctl', ['restart', 'ssh'])
        }
      }
    })
    const closeAll = () => world.closeConnections()

    test('the log is followed, a file is copied to and from servers', async () => {
      const child = start(['logs', '--follow', 'production'])
      const seen: string[] = []
      const exit = once(child, 'exit')
      for await (const line of createInterface({ input: child.stdout })) {
        seen.push(line)
        if (
          world.servers.every(({ name }) =>
            seen.some((one) => one.startsWith(`${name} │ `) && one.includes('listening')),
          )
        )
          break
      }
      child.kill('SIGINT')
      assert.equal((await exit)[0], 0)
      writeFileSync(join(world.repository, '.dploy/file'), 'a file')
      assert.equal((await dploy('copy', '.dploy/file', 'production:/tmp/')).code, 0)
      for (const server of world.servers) assert.equal(await server.read('/tmp/file'), 'a file')
      const back = await dploy('copy', 'production:/tmp/file', '.dploy/back/')
      assert.equal(back.code, 0, back.stderr)
      assert.equal(readFileSync(join(world.repository, '.dploy/back/web2/file'), 'utf8'), 'a file')
    })

    test('an address with a user and a port', async () => {
      for (const server of world.servers) {
        await server.write('/etc/ssh/sshd_config.d/port.conf', 'Port 2222\nPort 22\n')
        await server.mustExec('systemctl', ['restart', 'ssh'])
      }
      const known = world.servers[0]!.ssh.knownHostsFile
      const before = readFileSync(known, 'utf8')
      writeFileSync(
        known,
        before +
          world.servers
            .map(({ address }) =>
              before
                .split('\n')
                .find((line) => line.startsWith(`${address},`))!
                .replace(/^\S+/, `[${address}]:2222`),
            )
            .join('\n') +
          '\n',
      )
      await world.configure({
        environment: {
          servers: world.servers.map(({ name, address }) => ({ name, address: `deploy@${address}:2222` })),
        },
      })
      await world.commit({ 'version.txt': 'ported\n' }, 'Ported')
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'succeeded', result.failure?.message)
      await allRun('ported')
      const journal = await world.servers[0]!.mustExec('ss', ['-tnH', 'state', 'established', '( sport = :2222 )'])
      assert.match(journal, /:2222/)
      writeFileSync(known, before)
    })

    test('two environments on the same servers, each with a port and a directory of its own, do not know of each other', async () => {
      const servers = (port: number) => world.servers.map(({ name }) => ({ name, address: `deploy@${name}`, port }))
      const place = { branch: 'main', strategy: { bake: '0s' } }
      const config = (directory?: string) => ({
        application: 'shop',
        service: { command: '/opt/dploy/node server.mjs', port: 3000, health: { path: '/healthz' } },
        environments: {
          production: { ...place, servers: servers(3000) },
          staging: { ...place, ...(directory !== undefined && { directory }), servers: servers(3200) },
        },
      })
      const answers = async (port: number) =>
        (
          await Promise.all(
            world.servers.map(async ({ address }) => (await fetch(`http://${address}:${port}/`)).text()),
          )
        ).map((text) => text.trim())
      const run = async (...args: string[]) => {
        const { result } = await world.dploy(...args)
        assert.equal(result.state, 'succeeded', result.failure?.message)
      }
      // In one directory each would take the other's releases for its own.
      await world.commit({ 'dploy.yml': JSON.stringify(config()), 'version.txt': 'live\n' }, 'Two environments')
      const { failure } = (await world.dploy('deploy', 'staging')).result
      assert.equal(failure?.code, 'config.invalid')
      assert.match(
        failure.message,
        /both would use the directory \/srv\/shop\. .*environments\.staging\.directory, such as \/srv\/shop-staging/,
      )
      await world.commit({ 'dploy.yml': JSON.stringify(config('/srv/shop-staging')) }, 'A directory of its own')
      await run('deploy', 'production')
      await world.commit({ 'version.txt': 'tried\n' }, 'Tried')
      await run('deploy', 'staging')
      assert.deepEqual(
        await answers(3200),
        world.servers.map(({ name }) => `tried release 1 on ${name}`),
      )
      const live = await answers(3000)
      assert.ok(
        live.every((text) => text.startsWith('live ')),
        live.join(),
      )
      await world.commit({ 'version.txt': 'tried more\n' }, 'Tried more')
      await run('deploy', 'staging')
      await run('rollback', 'staging')
      assert.deepEqual(
        await answers(3200),
        world.servers.map(({ name }) => `tried release 1 on ${name}`),
      )
      assert.deepEqual(await answers(3000), live)
      for (const environment of ['production', 'staging']) {
        const { code, stdout } = await dploy('status', environment)
        assert.equal(code, 0, stdout)
        const where = await dploy('exec', environment, '--', 'pwd -P')
        assert.match(
          where.stdout,
          environment === 'staging'
            ? /^2 servers: \/srv\/shop-staging\/releases\/1 /
            : /^2 servers: \/srv\/shop\/releases\/\d+ /,
        )
      }
    })

    test('a user without sudo: --sudo is refused with what to do; what sudo allows is done', async () => {
      await asUser('plain', {
        extra: { release: { directory: '/home/plain/shop' } },
        service: { manager: 'process', port: 3100 },
      })
      const own = await dploy('exec', 'production', '--', 'id', '-un')
      assert.equal(own.stdout, '2 servers: plain  (web1, web2)\n', own.stderr)
      const next =
        /plain may not run this as root: sudo: a password is required[\s\S]*next: Leave out --sudo, or allow it there: sudo visudo -f \/etc\/sudoers\.d\/dploy, with the line "plain ALL=\(root\) NOPASSWD: ALL"\n {2}\(server\.no_sudo\)\n$/
      for (const on of [[], ['--on', 'web1']]) {
        const refused = await dploy('exec', 'production', ...on, '--sudo', '--', 'id', '-un')
        assert.equal(refused.code, 126, refused.stderr)
        assert.match(refused.stderr, next)
        assert.equal(refused.stderr.match(/next:/g)?.length, 1)
      }
      for (const server of world.servers)
        await server.write(
          '/etc/sudoers.d/plain',
          'plain ALL=(root) NOPASSWD: /usr/bin/id\nplain ALL=(nobody) NOPASSWD: ALL\n',
          0o440,
        )
      for (const [options, who] of [
        [['--sudo'], 'root'],
        [['--user', 'nobody'], 'nobody'],
      ] as const) {
        const { stdout, stderr } = await dploy('exec', 'production', ...options, '--', 'id', '-un')
        assert.equal(stdout, `2 servers: ${who}  (web1, web2)\n`, stderr)
      }
      const other = await dploy('exec', 'production', '--sudo', '--', 'cat', '/etc/shadow')
      assert.match(other.stderr, next)
      // What fails by itself is no refusal.
      assert.equal((await dploy('exec', 'production', '--sudo', '--', 'id', 'nobody-of-that-name')).code, 1)
    })

    test('what another user runs by sudo is ended too, when its time is up and by Ctrl-C', async () => {
      const left = async () =>
        (await Promise.all(world.servers.map((server) => server.exec('pgrep', ['-fa', 'sleep 601']))))
          .map(({ stdout }) => stdout)
          .join('')
      const line = 'trap "" TERM; sleep 601 & sleep 601'
      const late = await dploy('exec', 'production', '--user', 'nobody', '--timeout', '1s', '--', line)
      assert.equal(late.code, 124, late.stderr)
      assert.equal(await left(), '')
      const child = start(['exec', 'production', '--user', 'nobody', '--', line])
      const end = ended(child)
      for (
        const deadline = Date.now() + 10_000;
        (await left()).split('\n').filter((one) => /\d sleep/.test(one)).length < 4;
        await delay(50)
      )
        assert.ok(Date.now() < deadline, await left())
      child.kill('SIGINT')
      const { code, stderr } = await end
      assert.equal(code, 130, stderr)
      assert.equal(await left(), '')
    })

    test('where there is no sudo at all, that is said', async () => {
      for (const server of world.servers) await server.mustExec('mv', ['/usr/bin/sudo', '/usr/bin/sudo.away'])
      try {
        const { code, stderr } = await dploy('exec', 'production', '--sudo', '--', 'true')
        assert.equal(code, 126)
        assert.match(stderr, /there is no sudo on this server[\s\S]*\(server\.no_sudo\)/)
      } finally {
        for (const server of world.servers) await server.mustExec('mv', ['/usr/bin/sudo.away', '/usr/bin/sudo'])
      }
    })
  },
)
