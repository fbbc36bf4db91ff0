import { onServer, perServer } from '../facts.ts'

/** Whether somebody else listens where the service is to. */
export const ports = perServer((server, facts) =>
  (server.diagnosis?.ports ?? []).flatMap(({ port, owner }) => {
    if (!owner || owner.ours) return []
    const who =
      owner.pid === null
        ? `${owner.command}, of ${owner.user}`
        : `process ${owner.pid} of ${owner.user}: ${owner.command}`
    const next =
      owner.pid === null
        ? onServer(facts, server, ['ss', '-ltnp', `sport = :${port}`], ['--sudo'])
        : onServer(facts, server, ['ps', '-fp', String(owner.pid)])
    return [{ severity: 'error', code: 'server.port_taken', message: `Port ${port} is taken by ${who}`, next }]
  }),
)
