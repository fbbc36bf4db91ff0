import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readDestination } from './destination.ts'
import { needsVerbose, offeredKeys, sshFailure } from './failure.ts'

/** What OpenSSH printed, recorded with LC_ALL=C; 9.2 where nothing else is said. */
const recorded: {
  name: string
  address?: string
  code?: number | string
  stderr: string
  expect: [code: string, message: RegExp, fix: RegExp]
}[] = [
  {
    name: 'a name that does not resolve',
    address: 'nosuch.invalid',
    stderr: 'ssh: Could not resolve hostname nosuch.invalid: Name or service not known\r\n',
    expect: ['ssh.name_unknown', /The name nosuch\.invalid does not resolve/, /dploy\.yml/],
  },
  {
    name: 'a name that does not resolve, on macOS',
    stderr: 'ssh: Could not resolve hostname web1: nodename nor servname provided, or not known',
    expect: ['ssh.name_unknown', /web1/, /dploy\.yml/],
  },
  {
    name: 'a name server that does not answer',
    stderr: 'ssh: Could not resolve hostname web1: Temporary failure in name resolution',
    expect: ['ssh.name_unknown', /Temporary/, /name server/],
  },
  {
    name: 'a closed port',
    address: 'deploy@127.0.0.1:22623',
    stderr: 'ssh: connect to host 127.0.0.1 port 22623: Connection refused\r\n',
    expect: ['ssh.refused', /Nothing listens on port 22623 of 127\.0\.0\.1/, /ssh -p 22623 deploy@127\.0\.0\.1$/],
  },
  {
    name: 'no route',
    stderr: 'ssh: connect to host 10.0.0.9 port 22: No route to host\r\n',
    expect: ['ssh.no_route', /10\.0\.0\.9 port 22 does not answer \(No route to host\)/, /firewall/],
  },
  {
    name: 'a machine that is off',
    stderr: 'ssh: connect to host 10.0.0.9 port 22: Connection timed out\r\n',
    expect: ['ssh.no_route', /timed out/, /firewall/],
  },
  {
    name: 'a machine that is off, on macOS',
    stderr: 'ssh: connect to host 10.0.0.9 port 22: Operation timed out',
    expect: ['ssh.no_route', /timed out/, /firewall/],
  },
  {
    name: 'a jump host that refuses',
    stderr:
      'ssh: connect to host 127.0.0.1 port 22623: Connection refused\nkex_exchange_identification: Connection closed by remote host\r\nConnection closed by UNKNOWN port 65535\n',
    expect: ['ssh.refused', /port 22623 of 127\.0\.0\.1/, /sshd/],
  },
  {
    name: 'an unknown host key',
    stderr: 'Host key verification failed.\r\n',
    expect: ['ssh.host_key_unknown', /not known on this machine/, /^Connect once by hand.*ssh web1$/],
  },
  {
    name: 'a changed host key',
    stderr: `@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\r
Someone could be eavesdropping on you right now (man-in-the-middle attack)!\r
It is also possible that a host key has just been changed.\r
The fingerprint for the ED25519 key sent by the remote host is\r
SHA256:yqSkPRF/LLQPn9fM6o1NG9qfefPYPdZUz1r/jGb0Uts.\r
Please contact your system administrator.\r
Add correct host key in /home/anna/.ssh/known_hosts to get rid of this message.\r
Offending ED25519 key in /home/anna/.ssh/known_hosts:1\r
  remove with:\r
  ssh-keygen -f "/home/anna/.ssh/known_hosts" -R "[127.0.0.1]:22622"\r
Host key for [127.0.0.1]:22622 has changed and you have requested strict checking.\r
Host key verification failed.\r
`,
    expect: [
      'ssh.host_key_changed',
      /another host key \(SHA256:yqSkPRF\/LLQPn9fM6o1NG9qfefPYPdZUz1r\/jGb0Uts\).*known_hosts:1/,
      /ssh-keygen -f \/home\/anna\/\.ssh\/known_hosts -R '\[127\.0\.0\.1\]:22622'$/,
    ],
  },
  {
    name: 'a key that is not let in',
    address: 'root@127.0.0.1:22622',
    stderr: `debug1: Authenticating to 127.0.0.1:22622 as 'root'
debug1: Will attempt key: k2 ED25519 SHA256:nh8J5MPSGYCI21CpqEakpRaiBC10gq5Ay3vtO7lulG4 explicit
debug1: Offering public key: k2 ED25519 SHA256:nh8J5MPSGYCI21CpqEakpRaiBC10gq5Ay3vtO7lulG4 explicit
debug1: No more authentication methods to try.
root@127.0.0.1: Permission denied (publickey,keyboard-interactive).
`,
    expect: [
      'ssh.permission_denied',
      /does not let root in: none of the one key offered is accepted: k2 ED25519 SHA256:nh8J\S+; it takes publickey,keyboard-interactive/,
      /ssh-copy-id -p 22622 root@127\.0\.0\.1$/,
    ],
  },
  {
    name: 'no key at all',
    stderr: 'root@10.0.0.5: Permission denied (publickey).\r\n',
    expect: ['ssh.permission_denied', /no key was offered/, /ssh-add/],
  },
  {
    name: 'more keys than are allowed',
    stderr: `debug1: Offering public key: k2 ED25519 SHA256:nh8J5MPSGYCI21CpqEakpRaiBC10gq5Ay3vtO7lulG4 explicit
debug1: Offering public key: /home/anna/my keys/k3 ED25519 SHA256:LYOqPicetKzuARUwO7hKKhcPmifDi0STBM2S8sc3Qlk agent
Received disconnect from 127.0.0.1 port 22622:2: Too many authentication failures
Disconnected from 127.0.0.1 port 22622
`,
    expect: [
      'ssh.too_many_failures',
      /more keys than it allows: k2 ED25519 .*, \/home\/anna\/my keys\/k3 ED25519/,
      /: ssh -o IdentitiesOnly=yes web1$/,
    ],
  },
  {
    name: 'MaxStartups',
    stderr: 'kex_exchange_identification: Connection closed by remote host\r\n',
    expect: ['ssh.closed_early', /MaxStartups/, /Wait a minute/],
  },
  {
    name: 'MaxStartups, by a reset',
    stderr: 'kex_exchange_identification: read: Connection reset by peer\r\nConnection reset by 10.0.0.5 port 22\r\n',
    expect: ['ssh.closed_early', /MaxStartups/, /Wait/],
  },
  {
    name: 'MaxStartups of OpenSSH 9.8',
    stderr: 'kex_exchange_identification: banner line contains invalid characters\nExceeded MaxStartups\n',
    expect: ['ssh.closed_early', /MaxStartups/, /Wait/],
  },
  {
    name: 'OpenSSH 7',
    stderr: 'ssh_exchange_identification: Connection closed by remote host\r\n',
    expect: ['ssh.closed_early', /MaxStartups/, /Wait/],
  },
  {
    name: 'a server that does not greet',
    stderr: 'Connection timed out during banner exchange\r\n',
    expect: ['ssh.closed_early', /before a login/, /Wait/],
  },
  {
    name: 'no common algorithm',
    stderr:
      'Unable to negotiate with 127.0.0.1 port 22622: no matching host key type found. Their offer: ssh-ed25519\r\n',
    expect: ['ssh.failed', /no matching host key type found; it offers ssh-ed25519/, /Upgrade/],
  },
  {
    name: 'a configuration that is wrong',
    stderr:
      '/home/anna/.ssh/config: line 1: Bad configuration option: foo\r\n/home/anna/.ssh/config: terminating, 1 bad configuration options\r\n',
    expect: ['ssh.failed', /Bad configuration option: foo/, /Correct it/],
  },
  {
    name: 'no login shell',
    code: 1,
    stderr: 'This account is currently not available.\n',
    expect: ['ssh.failed', /no login shell/, /chsh/],
  },
  {
    name: 'a full disk',
    code: 0,
    stderr: 'gzip: stdout: No space left on device\n',
    expect: ['server.disk_full', /full/, /Free space/],
  },
  { name: 'no ssh program', code: 'ENOENT', stderr: '', expect: ['ssh.failed', /no ssh program/, /Install/] },
  { name: 'anything else', stderr: 'Something new\n', expect: ['ssh.failed', /Something new/, /ssh web1/] },
  { name: 'nothing', stderr: '', expect: ['ssh.failed', /ended with 255/, /ssh web1/] },
]

for (const { name, address, code, stderr, expect } of recorded) {
  test(`${name} is told as ${expect[0]}`, () => {
    const error = sshFailure({
      stderr,
      code: code ?? 255,
      destination: readDestination(address ?? 'web1'),
      server: 'web1',
    })
    assert.equal(error.code, expect[0])
    assert.match(error.message, expect[1])
    assert.match(error.fix, expect[2])
    assert.equal(error.where, 'web1')
  })
}

test('ssh is asked for more only where it would tell more', () => {
  assert.equal(needsVerbose('root@10.0.0.5: Permission denied (publickey).'), true)
  assert.equal(needsVerbose('ssh: connect to host 10.0.0.9 port 22: Connection refused'), false)
  assert.deepEqual(offeredKeys(''), [])
})

test('what is to be typed reads the same configuration, and names a key that was not tried or the one that was', () => {
  const destination = readDestination('deploy@web1:2222')
  const resolved = { configFile: '/home/anna/team config', identityFiles: ['/home/anna/.ssh/a', '/home/anna/.ssh/b'] }
  const offered =
    'debug1: Offering public key: /home/anna/.ssh/a ED25519 SHA256:nh8J5MPSGYCI21CpqEakpRaiBC10gq5Ay3vtO7lulG4 explicit\n'
  const fix = (stderr: string) => sshFailure({ stderr, code: 255, destination, resolved }).fix
  assert.match(
    fix(`${offered}Received disconnect from 10.0.0.5 port 22:2: Too many authentication failures`),
    /: ssh -o IdentitiesOnly=yes -i \/home\/anna\/\.ssh\/b -F '\/home\/anna\/team config' -p 2222 deploy@web1$/,
  )
  assert.match(
    fix(`${offered}deploy@web1: Permission denied (publickey,password).`),
    /: ssh-copy-id -i \/home\/anna\/\.ssh\/a -F '\/home\/anna\/team config' -p 2222 deploy@web1$/,
  )
  assert.match(
    fix(`${offered}deploy@web1: Permission denied (publickey).`),
    /no passwords: .*authorized_keys there\. It is this: cat \/home\/anna\/\.ssh\/a\.pub$/,
  )
})
