import { perServer } from '../facts.ts'

/** Whether the server runs what its environment wants. */
export const drift = perServer((server, facts) => {
  if (facts.wanted === null || !server.diagnosis) return []
  const { current, service } = server.diagnosis
  const next = `dploy deploy ${facts.environment}`
  if (current !== facts.wanted) return [{ severity: 'error', code: 'server.drifted', message: `${current === null ? 'No release serves' : `Release ${current} serves`}, and release ${facts.wanted} is wanted`, next }]
  if (!service || service.state === 'none' || service.state === 'unknown') return []
  if (service.state !== 'running') return [{ severity: 'error', code: 'server.drifted', message: `Release ${current} is in place, and its service is ${service.state}`, next: `dploy logs ${facts.environment} --on ${server.name}` }]
  if (service.release !== null && service.release !== current) return [{ severity: 'error', code: 'server.drifted', message: `Release ${current} is in place, and processes of release ${service.release} run`, next }]
  return []
})
