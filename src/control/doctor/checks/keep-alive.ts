import type { BalancerConfig } from '../../../protocol/config/config.ts'
import { formatDuration } from '../../../protocol/duration.ts'
import { onServer, perServer } from '../facts.ts'

/**
 * How long each balancer keeps a connection to a server that nobody uses, by default. Milliseconds; null: none, or it is not
 * known. HAProxy: half of what is idle goes every pool-purge-delay, 5 s (its manual, 3.2). nginx: keepalive_timeout of upstream,
 * 60 s. Caddy: keepalive of its transport, 2 min. AWS: idle_timeout.timeout_seconds, 60 s.
 */
const idle: Record<BalancerConfig['kind'], number | null> = {
  haproxy: 10_000,
  nginx: 60_000,
  caddy: 120_000,
  aws: 60_000,
  builtin: null,
  command: null,
  none: null,
}

/** So long is a connection worth being watched: the usual too short timeouts are 2 s (gunicorn) and 5 s (Node, Apache, uvicorn). Milliseconds. */
export const keepAlivePatience = 6_500

/**
 * A service that closes idle connections before its balancer does, closes some at the very moment when the balancer sends a
 * request on them: then a user sees an error now and then, and nobody finds out why.
 */
export const keepAlive = perServer((server, facts) => {
  const measured = server.diagnosis?.keepAlive
  const limit = idle[facts.asks.balancer.kind]
  if (!measured || measured.ms === null || limit === null || measured.ms > limit) return []
  const how = measured.announced ? 'announces that it closes' : 'closes'
  return [
    {
      severity: 'error',
      code: 'service.keep_alive_short',
      message: `The service on port ${measured.port} ${how} connections that are idle for ${formatDuration(measured.ms)}; ${facts.asks.balancer.kind} keeps them for ${formatDuration(limit)} and may send a request on one that is just being closed. Let the service keep them longer`,
      // With nothing but what each server has: it shows the answer, and after how long the connection is closed.
      next: onServer(facts, server, [
        'bash',
        '-c',
        `exec 3<>/dev/tcp/127.0.0.1/${measured.port}; printf "GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n" >&3; time cat <&3`,
      ]),
    },
  ]
})
