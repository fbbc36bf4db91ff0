import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { mustRun } from '../fleet/command.ts'
import { unavailable } from '../fleet/fleet.ts'
import { World } from '../world.ts'

const reason = unavailable()

describe(
  'a server that ssh does not reach, or a user who may not become root',
  { skip: reason ?? false, concurrency: 1, timeout: 280_000 },
  () => {
    let world: World
    before(async () => {
      world = await World.up({ servers: 1, ssh: 'plain', strategy: { bake: '0s' } })
    })
    after(async () => world?.[Symbol.asyncDispose]())

    /** Deploys under an ssh configuration in which these lines win. */
    const deployWith = async (name: string, lines: string[]) => {
      const file = join(world.directory, `config-${name}`)
      writeFileSync(
        file,
        `Host *\n${lines.map((line) => `  ${line}\n`).join('')}\n${readFileSync(world.fleet.sshConfig, 'utf8')}`,
      )
      const { result, code } = await world.startIn(world.repository, ['deploy', 'production'], {
        DPLOY_SSH_CONFIG: file,
      }).outcome
      assert.equal(code, 1)
      assert.equal(result.state, 'failed')
      return result.failure!
    }

    const table: {
      name: string
      lines: (directory: string) => Promise<string[]> | string[]
      code: string
      message: RegExp
      fix: RegExp
    }[] = [
      // No name server is asked about it: it is no name.
      {
        name: 'a name that does not resolve',
        lines: () => ['HostName nosuch..invalid'],
        code: 'ssh.name_unknown',
        message: /nosuch\.\.invalid/,
        fix: /dploy\.yml/,
      },
      {
        name: 'a closed port',
        lines: () => ['Port 2'],
        code: 'ssh.refused',
        message: /Nothing listens on port 2/,
        fix: /ssh -F \S+ plain@web1$/,
      },
      {
        name: 'an address where nothing is',
        lines: () => [`HostName ${world.fleet.hostAddress.replace(/\.1$/, '.250')}`],
        code: 'ssh.no_route',
        message: /does not answer/,
        fix: /firewall/,
      },
      {
        name: 'an unknown host key',
        lines: () => ['UserKnownHostsFile /dev/null', 'StrictHostKeyChecking yes'],
        code: 'ssh.host_key_unknown',
        message: /not known/,
        fix: /by hand.*ssh -F \S+ plain@web1$/,
      },
      {
        name: 'a changed host key',
        lines: async (directory) => {
          await mustRun('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(directory, 'another')])
          const key = readFileSync(join(directory, 'another.pub'), 'utf8').split(' ').slice(0, 2).join(' ')
          writeFileSync(join(directory, 'known'), `${world.servers[0]!.address} ${key}\nweb1 ${key}\n`)
          return [`UserKnownHostsFile ${join(directory, 'known')}`, 'StrictHostKeyChecking yes']
        },
        code: 'ssh.host_key_changed',
        message: /another host key \(SHA256:\S+\).*known:\d/,
        fix: /ssh-keygen -f \S+known -R /,
      },
    ]
    for (const { name, lines, code, message, fix } of table) {
      test(`${name} is told as ${code}`, async () => {
        const failure = await deployWith(name.replaceAll(' ', '-'), await lines(world.directory))
        assert.equal(failure.code, code, failure.message)
        assert.match(failure.message, message)
        assert.match(failure.fix, fix)
        assert.equal(failure.where, 'web1')
      })
    }

    test('a key that is not let in is told as ssh.permission_denied, with the keys that were offered', async () => {
      const server = world.servers[0]!
      await server.mustExec('mv', ['/home/plain/.ssh/authorized_keys', '/home/plain/.ssh/away'])
      try {
        const failure = await deployWith('denied', [])
        assert.equal(failure.code, 'ssh.permission_denied', failure.message)
        assert.match(
          failure.message,
          /does not let plain in: none of the one key offered is accepted: \S+id_ed25519 ED25519 SHA256:\S+; it takes publickey/,
        )
        assert.match(failure.fix, /ssh-copy-id -i \S+id_ed25519 -F \S+ plain@web1$/)
      } finally {
        await server.mustExec('mv', ['/home/plain/.ssh/away', '/home/plain/.ssh/authorized_keys'])
      }
    })

    test('MaxStartups 1 is told as ssh.closed_early, after it was tried again', async () => {
      const server = world.servers[0]!
      await server.write('/etc/ssh/sshd_config.d/one.conf', 'MaxStartups 1:100:1\n')
      await server.mustExec('systemctl', ['restart', 'ssh'])
      const other = connect(22, server.address)
      await once(other, 'data')
      try {
        const failure = await deployWith('startups', [])
        assert.equal(failure.code, 'ssh.closed_early', failure.message)
        assert.match(failure.message, /MaxStartups/)
      } finally {
        other.destroy()
        await server.mustExec('rm', ['/etc/ssh/sshd_config.d/one.conf'])
        await server.mustExec('systemctl', ['restart', 'ssh'])
      }
    })

    test('a full disk is told as server.disk_full', async () => {
      const server = world.servers[0]!
      await server.mustExec('sh', [
        '-c',
        'install -d -o plain -g plain -m 700 /home/plain/.dploy && mount -t tmpfs -o size=1m,uid=$(id -u plain) full /home/plain/.dploy',
      ])
      try {
        const failure = await deployWith('full', [])
        assert.equal(failure.code, 'server.disk_full', failure.message)
      } finally {
        await server.mustExec('umount', ['--lazy', '/home/plain/.dploy'])
      }
    })

    test('a directory that only root may write is told as server.no_sudo, with what sudo said', async () => {
      const failure = await deployWith('sudo', [])
      assert.equal(failure.code, 'server.no_sudo', failure.message)
      assert.match(failure.message, /plain may not mkdir .*\/srv\/shop.*sudo is refused: sudo: a password is required/)
      assert.match(failure.fix, /visudo/)
      assert.equal(failure.where, 'web1')
    })

    test('without sudo a user deploys below their home', async () => {
      await world.configure({ extra: { release: { directory: '/home/plain/shop' } } })
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'succeeded', result.failure?.message)
      assert.match((await world.answers())[0]!, /^one /)
      await world.commit({ 'version.txt': 'two\n' }, 'Two')
      assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
      assert.match((await world.answers())[0]!, /^two /)
    })
  },
)
