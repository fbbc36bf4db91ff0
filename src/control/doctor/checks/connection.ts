import { formatDuration } from '../../../protocol/duration.ts'
import type { ErrorReport } from '../../../protocol/errors.ts'
import { typed } from '../../../protocol/typed.ts'
import { readDestination } from '../../../ssh/destination.ts'
import { allowSudo, bySsh, perServer, type EnvironmentFacts, type ServerFacts } from '../facts.ts'

/** Whether the server's agent is there and answers. */
export const connection = perServer((server, facts) => {
  if (server.lockedAt !== null)
    return [
      {
        severity: 'error',
        code: 'agent.key_cloned',
        message: `Two machines hold its key since ${formatDuration(Math.max(0, facts.now - server.lockedAt))}; both are refused until somebody decides which it is`,
        next: `dploy server rotate-key ${server.name}`,
      },
    ]
  if (server.connected)
    return server.problem && !tooFar(server.clockSkew)
      ? [
          {
            severity: 'error',
            code: server.problem.code,
            message: server.problem.message,
            next:
              server.problem.code === 'protocol.mismatch'
                ? `dploy server add ${server.name}`
                : bySsh(facts, server, ['journalctl', '-u', 'dploy-agent', '-n', '50']),
          },
        ]
      : []
  // What ssh said, in plain words, where it was to reach the server.
  if (server.problem && server.problem.code !== 'server.unreachable')
    return [
      {
        severity: 'error',
        code: server.problem.code,
        message: server.problem.message,
        next: nextOf(facts, server, server.problem),
      },
    ]
  if (!server.joined)
    return [
      {
        severity: 'error',
        code: 'server.unreachable',
        message: 'No agent has joined under this name',
        next: `dploy server add ${server.name}`,
      },
    ]
  const seen =
    server.lastSeenAt === null
      ? 'it was never connected'
      : `it was last connected ${formatDuration(Math.max(0, facts.now - server.lastSeenAt))} ago`
  return [
    {
      severity: 'error',
      code: 'server.unreachable',
      message: `Its agent is not connected; ${seen}`,
      next: bySsh(facts, server, ['systemctl', 'status', 'dploy-agent']),
    },
  ]
})

/** The command that an advice ends with, as `Then: ssh web1`; else the one that shows what is wrong. */
function nextOf(facts: EnvironmentFacts, server: ServerFacts, { code, fix, message }: ErrorReport): string {
  const command = /: ((?:ssh|ssh-copy-id|ssh-keygen|ssh-add|apt|cat) .+)$/.exec(fix)?.[1]
  if (command !== undefined) return command
  switch (code) {
    case 'ssh.name_unknown':
      return typed([
        ...(facts.controlPlatform.startsWith('darwin')
          ? ['dscacheutil', '-q', 'host', '-a', 'name']
          : ['getent', 'hosts']),
        /^The name (\S+) does not resolve/.exec(message)?.[1] ?? hostOf(server),
      ])
    case 'ssh.permission_denied':
      return 'ssh-add -l'
    case 'server.wrong_architecture':
      return bySsh(facts, server, ['uname', '-a'])
    case 'server.libc_too_old':
      return bySsh(facts, server, ['cat', '/etc/os-release'])
    case 'server.no_sudo':
      return allowSudo(facts, server, readDestination(server.address ?? server.name).user)
    case 'server.disk_full':
      // Where the agent's files are depends on the user: below one of these.
      return bySsh(facts, server, ['df', '-h', '/var/lib/dploy', '/var/lib', '.'])
    default:
      return bySsh(facts, server, ['true'])
  }
}

function hostOf(server: ServerFacts): string {
  return readDestination(server.address ?? server.name).host
}

/** Such a clock is the reason for whatever else fails. */
function tooFar(skew: number | null): boolean {
  return skew !== null && Math.abs(skew) > 60_000
}
