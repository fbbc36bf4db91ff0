import { formatDuration } from '../../../protocol/duration.ts'
import { bySsh, perServer } from '../facts.ts'

/** Whether the server's agent is there and answers. */
export const connection = perServer((server, facts) => {
  if (server.connected) return server.problem && !tooFar(server.clockSkew) ? [{ severity: 'error', code: server.problem.code, message: server.problem.message, next: bySsh(server, 'journalctl -u dploy-agent -n 50') }] : []
  // What ssh said, in plain words, where it was to reach the server.
  if (server.problem && server.problem.code !== 'server.unreachable') return [{ severity: 'error', code: server.problem.code, message: server.problem.message, next: commandIn(server.problem.fix) }]
  if (!server.joined) return [{ severity: 'error', code: 'server.unreachable', message: 'No agent has joined under this name', next: 'dploy agent run --help' }]
  const seen = server.lastSeenAt === null ? 'it was never connected' : `it was last connected ${formatDuration(Math.max(0, facts.now - server.lastSeenAt))} ago`
  return [{ severity: 'error', code: 'server.unreachable', message: `Its agent is not connected; ${seen}`, next: bySsh(server, 'systemctl status dploy-agent') }]
})

/** The command that an advice ends with, as `Then: ssh web1`; else the advice. */
function commandIn(fix: string): string {
  return /: ((?:ssh|ssh-copy-id|ssh-keygen|ssh-add|apt) [^:;]*|ssh \S.*|ssh-keygen -.*)$/.exec(fix)?.[1] ?? fix
}

/** Such a clock is the reason for whatever else fails. */
function tooFar(skew: number | null): boolean {
  return skew !== null && Math.abs(skew) > 60_000
}
