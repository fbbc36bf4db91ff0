import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Person } from '../commands/person.ts'
import { ended } from '../commands/team.ts'
import { unavailable, type Server } from '../fleet/fleet.ts'
import { skewed } from './skewed.ts'
import { pathWithDploy, typeLine, type Answers } from './terminal.ts'
import { World } from '../world.ts'

const program = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

interface Finding {
  server: string | null
  code: string
  message: string
  next: string
}

interface Fault {
  what: string
  /** Makes it for the second server; answers what undoes it. */
  make(world: World, server: Server): Promise<() => unknown>
  code: string
  says: RegExp
  next: RegExp
  /** The deployment says it too. */
  deploys?: false
  /** Typed as it stands there, with these answers to what is asked for, the next command mends it (as often as doctor has one). */
  mends?: Answers
  /** Typed as it stands there, it shows this. */
  shows?: { answers?: Answers; text: RegExp }
}

/** What somebody types who has the password of the server's user. */
const password: Answers = [[/password( for deploy)?: $/, 'correct horse']]
/** Somebody at a shell who wanted to see no more than that they get there. */
const leaves: Answers = [[/\$ $/, 'exit']]
const hasPassword = (server: Server) => server.mustExec('sh', ['-c', 'echo "deploy:correct horse" | chpasswd'])

/** Changes the line of a server in the person's known_hosts. */
const hostKey =
  (change: (line: string, other: string) => string): Fault['make'] =>
  async (_world, server) => {
    const file = server.ssh.knownHostsFile
    const text = readFileSync(file, 'utf8')
    const lines = text.split('\n')
    const names = new RegExp(`^\\S*(${server.name}|${server.address.replaceAll('.', '\\.')})\\b`)
    const other = lines.find((line) => line !== '' && !names.test(line))!
    assert.ok(lines.some((line) => names.test(line)))
    writeFileSync(file, lines.map((line) => (names.test(line) ? change(line, other) : line)).join('\n'))
    return () => writeFileSync(file, text)
  }

/** Lines for the server's sshd, which is started anew. */
const sshd =
  (lines: string): Fault['make'] =>
  async (_world, server) => {
    await server.write('/etc/ssh/sshd_config.d/00-fault.conf', `${lines}\n`)
    const restart = () => server.mustExec('sh', ['-c', 'systemctl reset-failed ssh; systemctl restart ssh'])
    await restart()
    return async () => {
      await server.mustExec('rm', ['/etc/ssh/sshd_config.d/00-fault.conf'])
      await restart()
    }
  }

/** sudo asks the user for a password, and what is there is root's. */
const asks: Fault['make'] = async (_world, server) => {
  await hasPassword(server)
  await server.mustExec('mv', ['/etc/sudoers.d/deploy', '/root/sudoers'])
  await server.write('/etc/sudoers.d/asks', 'deploy ALL=(ALL) ALL\n', 0o440)
  return async () => {
    await server.mustExec('rm', ['-f', '/etc/sudoers.d/asks', '/etc/sudoers.d/dploy'])
    await server.mustExec('mv', ['/root/sudoers', '/etc/sudoers.d/deploy'])
    await server.mustExec('chown', ['-R', 'root', '/srv/shop'])
  }
}

/** A program of the server that answers something else. */
const standIn =
  (name: string, script: string): Fault['make'] =>
  async (_world, server) => {
    await server.write(`/usr/local/bin/${name}`, `#!/bin/sh\n${script}\n`, 0o755)
    return () => server.mustExec('rm', [`/usr/local/bin/${name}`])
  }

const faults: Fault[] = [
  {
    what: 'a changed host key',
    make: hostKey((line, other) => [line.split(' ')[0], ...other.split(' ').slice(1)].join(' ')),
    code: 'ssh.host_key_changed',
    says: /shows another host key/,
    next: /^ssh-keygen -f \S*known_hosts -R \S+$/,
    mends: [[/\(yes\/no/, 'yes'], ...leaves],
  },
  {
    what: 'an unknown host key',
    make: hostKey(() => ''),
    code: 'ssh.host_key_unknown',
    says: /not known on this machine/,
    next: /^ssh -F \S+ deploy@web2$/,
    mends: [[/\(yes\/no/, 'yes'], ...leaves],
  },
  {
    what: 'a closed port',
    async make(_world, server) {
      await server.mustExec('systemctl', ['stop', 'ssh'])
      return () => server.mustExec('systemctl', ['start', 'ssh'])
    },
    code: 'ssh.refused',
    says: /Nothing listens on port 22/,
    next: /^ssh -F \S+ deploy@web2$/,
    shows: { text: /Connection refused/ },
  },
  {
    what: 'a key that is not let in',
    async make(_world, server) {
      await hasPassword(server)
      await server.mustExec('mv', ['/home/deploy/.ssh/authorized_keys', '/home/deploy/.ssh/kept'])
      return () => server.mustExec('mv', ['/home/deploy/.ssh/kept', '/home/deploy/.ssh/authorized_keys'])
    },
    code: 'ssh.permission_denied',
    says: /does not let deploy in: none of the one key offered .*SHA256:/,
    next: /^ssh-copy-id -i \S+id_ed25519 -F \S+ deploy@web2$/,
    mends: password,
  },
  {
    what: 'a key that is not let in, where no password opens either',
    async make(world, server) {
      const undo = await sshd('PasswordAuthentication no\nKbdInteractiveAuthentication no')(world, server)
      await server.mustExec('mv', ['/home/deploy/.ssh/authorized_keys', '/home/deploy/.ssh/kept'])
      return async () => {
        await server.mustExec('mv', ['/home/deploy/.ssh/kept', '/home/deploy/.ssh/authorized_keys'])
        await undo()
      }
    },
    code: 'ssh.permission_denied',
    says: /none of the one key offered .*SHA256:.*; it takes publickey$/,
    next: /^cat \S+id_ed25519\.pub$/,
    shows: { text: /^ssh-ed25519 / },
    deploys: false,
  },
  {
    what: 'more keys than the server allows',
    async make(world, server) {
      const undo = await sshd('MaxAuthTries 2')(world, server)
      const config = configOf(world)
      const text = readFileSync(config, 'utf8')
      const keys = ['a', 'b', 'c'].map((name) => join(world.directory, `key-${name}`))
      for (const key of keys) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
      writeFileSync(config, `Host web2\n${keys.map((key) => `IdentityFile ${key}\n`).join('')}\n${text}`)
      return async () => {
        writeFileSync(config, text)
        await undo()
      }
    },
    code: 'ssh.too_many_failures',
    says: /offered more keys than it allows: .*key-a/,
    next: /^ssh -o IdentitiesOnly=yes (-i \S+key-\w )*-i \S+id_ed25519 -F \S+ deploy@web2$/,
    shows: { answers: leaves, text: /deploy@web2:/ },
  },
  {
    what: 'MaxStartups 1, while somebody else logs in',
    async make(world, server) {
      const undo = await sshd('MaxStartups 1:100:1\nLoginGraceTime 120')(world, server)
      const other = connect({ host: server.address, port: 22 })
      await once(other, 'data')
      return async () => {
        other.destroy()
        await undo()
      }
    },
    code: 'ssh.closed_early',
    says: /too many at once \(MaxStartups\)/,
    next: /^ssh -F \S+ deploy@web2$/,
  },
  {
    what: 'a name that does not resolve',
    async make(world) {
      await world.configure({
        environment: {
          servers: [
            { name: 'web1', address: 'deploy@web1' },
            { name: 'web2', address: 'deploy@nosuch.invalid' },
          ],
        },
      })
      return () => world.configure()
    },
    code: 'ssh.name_unknown',
    says: /nosuch\.invalid does not resolve/,
    next: /^getent hosts nosuch\.invalid$/,
    shows: { text: /^$/ },
  },
  {
    what: 'a machine that nothing reaches',
    async make(_world, server) {
      await server.cutNetwork()
      return () => server.restoreNetwork()
    },
    // What a deployment says then, e2e/ssh/failures.test.ts has: each takes ssh ten seconds.
    code: 'ssh.no_route',
    says: /does not answer \((No route to host|Connection timed out)\)/,
    next: /^ssh -F \S+ deploy@web2$/,
    deploys: false,
  },
  {
    what: 'an architecture that no runtime is for',
    make: standIn(
      'uname',
      'case "$1" in -m) echo riscv64;; -sm) echo Linux riscv64;; *) exec /usr/bin/uname "$@";; esac',
    ),
    code: 'server.wrong_architecture',
    says: /Linux riscv64/,
    next: /^ssh -F \S+ deploy@web2 uname -a$/,
    shows: { text: /Linux web2/ },
  },
  {
    what: 'a C library that is too old, where the runtime is not placed yet',
    async make(world, server) {
      await server.mustExec('mv', ['/var/lib/dploy/runtime', '/var/lib/dploy/runtime.kept'])
      const undo = await standIn('getconf', 'echo glibc 2.17')(world, server)
      return async () => {
        await undo()
        await server.mustExec('rm', ['-rf', '/var/lib/dploy/runtime'])
        await server.mustExec('mv', ['/var/lib/dploy/runtime.kept', '/var/lib/dploy/runtime'])
      }
    },
    code: 'server.libc_too_old',
    says: /glibc 2\.17; Node 24 needs 2\.28/,
    next: /^ssh -F \S+ deploy@web2 cat \/etc\/os-release$/,
    shows: { text: /PRETTY_NAME=/ },
  },
  {
    what: 'a clock 40 minutes ahead',
    async make(_world, server) {
      await server.write('/opt/skew.mjs', skewed)
      await server.write('/etc/sudoers.d/skew', 'Defaults env_keep += "NODE_OPTIONS CLOCK_SKEW"\n', 0o440)
      const undo = await sshd('SetEnv NODE_OPTIONS=--import=/opt/skew.mjs CLOCK_SKEW=2400000')(_world, server)
      return async () => {
        await undo()
        await server.mustExec('rm', ['/opt/skew.mjs', '/etc/sudoers.d/skew'])
      }
    },
    code: 'server.clock_skew',
    says: /40 min 0 s ahead .* refuses commands/,
    next: /^ssh -t -F \S+ deploy@web2 sudo timedatectl set-ntp true$/,
  },
  {
    what: 'a full disk, where the agent cannot be placed',
    async make(_world, server) {
      await server.mustExec('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', '/var/lib/dploy'])
      return () => server.mustExec('umount', ['--lazy', '/var/lib/dploy'])
    },
    code: 'server.disk_full',
    says: /disk of \S+ is full/,
    next: /^ssh -F \S+ deploy@web2 df -h \/var\/lib\/dploy \/var\/lib \.$/,
    shows: { text: /64K .*\/var\/lib\/dploy/ },
  },
  {
    what: 'a directory of somebody else, for a user whose sudo asks for a password',
    make: asks,
    code: 'server.not_writable',
    says: /cannot be written by deploy/,
    next: /^ssh -t -F \S+ deploy@web2 sudo chown -R deploy \/srv\/shop$/,
    mends: password,
    deploys: false,
  },
  {
    what: 'sudo with a password alone',
    make: asks,
    code: 'server.no_sudo',
    says: /runs as deploy.* \/srv\/shop is not theirs to write/,
    next: /^ssh -t -F \S+ deploy@web2 'echo .*deploy ALL=\(ALL:ALL\) NOPASSWD: ALL.* \| sudo install -m 440 \/dev\/stdin \/etc\/sudoers\.d\/dploy'$/,
    mends: password,
  },
]

/** The fleet's configuration for ssh, as that of a person who is at a terminal and can be asked. */
function configOf(world: World): string {
  return join(world.directory, 'ssh-config')
}

const reason = unavailable()

describe(
  'dploy doctor says why ssh does not reach a server, and a deployment says the same',
  { skip: reason ?? false, concurrency: 1, timeout: 360_000 },
  () => {
    let world: World
    let environment: NodeJS.ProcessEnv
    before(async () => {
      world = await World.up({ servers: 2, ssh: 'deploy' })
      writeFileSync(
        configOf(world),
        readFileSync(world.fleet.sshConfig, 'utf8')
          .replaceAll('StrictHostKeyChecking yes', 'StrictHostKeyChecking ask')
          .replaceAll('BatchMode yes', ''),
      )
      environment = {
        ...world.environment,
        DPLOY_SSH_CONFIG: configOf(world),
        NO_COLOR: '1',
        PATH: pathWithDploy(world.directory),
      }
    })
    after(async () => world?.[Symbol.asyncDispose]())

    const doctor = async () => {
      const { code, stdout, stderr } = await ended(
        spawn(process.execPath, [program, 'doctor', 'production', '--json'], {
          cwd: world.repository,
          stdio: ['ignore', 'pipe', 'pipe'],
          env: environment,
        }),
      )
      assert.notEqual(stdout.length, 0, stderr)
      return { code, findings: (JSON.parse(stdout.toString()) as { findings: Finding[] }).findings }
    }

    test('nothing is found where nothing is wrong', async () => {
      const { code, findings } = await doctor()
      assert.deepEqual(findings, [])
      assert.equal(code, 0)
    })

    for (const fault of faults) {
      test(fault.what, async () => {
        // A connection that is open would not notice.
        await world.closeConnections()
        const undo = await fault.make(world, world.servers[1]!)
        try {
          const { code, findings } = await doctor()
          assert.equal(code, 1)
          const found = findings.filter((finding) => finding.code === fault.code)
          assert.deepEqual(
            found.map(({ server }) => server),
            ['web2'],
            JSON.stringify(findings, null, 2),
          )
          assert.match(found[0]!.message, fault.says)
          assert.match(found[0]!.next, fault.next)
          assert.ok(!findings.some(({ server }) => server === 'web1'), JSON.stringify(findings))
          if (fault.deploys !== false) {
            const { result } = await world.startIn(world.repository, ['deploy', 'production'], environment).outcome
            assert.equal(result.state, 'failed')
            assert.match(
              `${result.failure!.code} ${result.failure!.message}`,
              new RegExp(fault.code.replace('.', '\\.')),
            )
          }
          // ssh-copy-id makes a file below ~/.ssh.
          mkdirSync(join(world.directory, 'home/.ssh'), { recursive: true })
          const place = {
            directory: world.repository,
            environment: { ...environment, HOME: join(world.directory, 'home') },
          }
          if (fault.shows) {
            const { shown } = await typeLine(found[0]!.next, place, fault.shows.answers)
            assert.match(shown, fault.shows.text, found[0]!.next)
          }
          if (fault.mends) {
            let left = findings
            for (let typed = 0; left.length > 0; typed++) {
              assert.ok(typed < 3, JSON.stringify(left, null, 2))
              // Of two that each mend it, the one that this is about.
              const { next } = left.find((finding) => finding.code === fault.code) ?? left[0]!
              const { code, shown } = await typeLine(next, place, fault.mends)
              assert.equal(code, 0, `${next}\n${shown}`)
              left = (await doctor()).findings
            }
          }
        } finally {
          await undo()
          await world.closeConnections()
        }
      })
    }

    test('nothing is found once all is undone, and a command runs by ssh too', async () => {
      for (const deadline = Date.now() + 20_000; ; await delay(500)) {
        const { findings } = await doctor()
        if (findings.length === 0) break
        assert.ok(Date.now() < deadline, JSON.stringify(findings))
      }
      const { stdout } = await ended(
        spawn(process.execPath, [program, 'exec', 'production', '--', 'id', '-un'], {
          cwd: world.repository,
          stdio: ['ignore', 'pipe', 'pipe'],
          env: { ...world.environment, NO_COLOR: '1' },
        }),
      )
      assert.equal(stdout.toString(), '2 servers: root  (web1, web2)\n')
    })

    test('a release that was taken away by hand is brought back by what doctor says', async () => {
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'succeeded', result.failure?.message)
      await world.servers[1]!.mustExec('rm', ['/srv/shop/current'])
      const { findings } = await doctor()
      assert.deepEqual(
        findings.map(({ server, code, next }) => [server, code, next]),
        [['web2', 'server.drifted', 'dploy converge production']],
      )
      // The control plane of this command ends with it: it sees it through.
      const { code, shown } = await typeLine(findings[0]!.next, { directory: world.repository, environment })
      assert.equal(code, 0, shown)
      assert.deepEqual((await doctor()).findings, [])
    })

    test('a terminal goes through ssh too', async () => {
      await using person = new Person({ directory: world.repository, environment: world.environment }, 'shell', 'web1')
      await person.sees(/[#$] $/)
      person.type('stty size; hostname; id -un\r')
      await person.sees(/30 90\s+web1\s+root/)
      person.type('exit 3\r')
      assert.equal(await person.code(), 3)
      person.restored()
    })

    test('a command ends on all servers when its CLI, which carries the connections, is killed', async () => {
      const child = spawn(
        process.execPath,
        [program, 'exec', 'production', '--', 'trap "" TERM; sleep 601 & sleep 601; sleep 601'],
        { cwd: world.repository, stdio: 'ignore', env: world.environment },
      )
      const running = async () =>
        Promise.all(
          world.servers.map(async (server) => (await server.exec('pgrep', ['-fc', 'sleep 601'])).stdout.trim()),
        )
      for (const deadline = Date.now() + 20_000; (await running()).includes('0'); await delay(50))
        assert.ok(Date.now() < deadline, 'it never ran')
      child.kill('SIGKILL')
      for (const deadline = Date.now() + 20_000; (await running()).some((count) => count !== '0'); await delay(50))
        assert.ok(Date.now() < deadline, `still there: ${(await running()).join(' ')}`)
    })
  },
)
