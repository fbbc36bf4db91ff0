import { driftOf } from '../../deploy/plan/drift.ts'
import { perServer } from '../facts.ts'

/** Whether the server runs what its environment wants. */
export const drift = perServer((server, facts) => {
  if (!server.diagnosis) return []
  const { current, service } = server.diagnosis
  // The group that does not serve keeps the release that it has.
  const kind = driftOf({ release: current, service }, server.idle ? current : facts.wanted)
  const finding = (message: string, next = `dploy converge ${facts.environment}`) => [
    { severity: 'error' as const, code: 'server.drifted' as const, message, next },
  ]
  switch (kind) {
    case null:
      return []
    case 'release':
      return finding(
        `${current === null ? 'No release serves' : `Release ${current} serves`}, and release ${facts.wanted} is wanted`,
      )
    case 'service':
      return finding(
        `Release ${current} is in place, and its service is ${service?.state}`,
        `dploy logs ${facts.environment} --on ${server.name}`,
      )
    case 'processes':
      return finding(`Release ${current} is in place, and processes of release ${service?.release} run`)
    default:
      kind satisfies never
      return []
  }
})
