import { formatDuration } from '../../../protocol/duration.ts'
import { bySsh, perServer } from '../facts.ts'

/** From here on times in logs mislead and certificates surprise. Milliseconds. */
const noticeable = 30_000
/** From here on commands are refused as expired: they live 5 minutes (control/gateway/agent-link.ts). Milliseconds. */
const harmful = 4 * 60_000

export const clock = perServer((server, facts) => {
  const skew = server.clockSkew
  if (skew === null || Math.abs(skew) < noticeable) return []
  const message = `Its clock is ${formatDuration(Math.abs(skew))} ${skew > 0 ? 'ahead of' : 'behind'} the control plane's${skew > harmful ? ', so that it refuses commands as expired' : ''}`
  // Not through the agent, which may refuse it.
  return [
    {
      severity: Math.abs(skew) >= harmful ? 'error' : 'warning',
      code: 'server.clock_skew',
      message,
      next: bySsh(facts, server, ['sudo', 'timedatectl', 'set-ntp', 'true']),
    },
  ]
})
