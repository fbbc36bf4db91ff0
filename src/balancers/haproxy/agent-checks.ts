import type { RuntimeApi } from './runtime-api.ts'

/** `srv_agent_state` of `show servers state`: CHK_ST_CONFIGURED (check-t.h). */
const configured = 2

/**
 * The servers, as BACKEND/SERVER, that HAProxy asks an agent about (`agent-check`). What such an agent says, `ready` or `up`, ends
 * a drain and a maintenance that were set by the Runtime API (configuration.txt, "agent-check"), so it is not asked meanwhile.
 */
export async function serversWithAgents(
  api: RuntimeApi,
  backends: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const lines = (await api.ask('show servers state', signal)).split('\n').map((line) => line.split(' '))
  const names = lines.find(([first]) => first === '#')?.slice(1) ?? []
  const [backend, server, state] = ['be_name', 'srv_name', 'srv_agent_state'].map((name) => names.indexOf(name)) as [
    number,
    number,
    number,
  ]
  if (state < 0) return new Set()
  return new Set(
    lines
      .filter(
        (fields) =>
          fields.length >= names.length &&
          backends.includes(fields[backend]!) &&
          (Number(fields[state]) & configured) !== 0,
      )
      .map((fields) => `${fields[backend]}/${fields[server]}`),
  )
}
