/** How a server differs from what its environment wants: another release is in place, its service does not run, or processes of another release do. */
export type Drift = 'release' | 'service' | 'processes'

/**
 * Whether a server runs what its environment wants: null if it does, or nothing is wanted. The one answer for status, lists, doctor and
 * converger. What has no service, or one of which nobody can say, runs when its release is in place. Pure.
 */
export function driftOf(
  seen: { release: number | null; service: { state: string; release: number | null } | null },
  wanted: number | null,
): Drift | null {
  if (wanted === null) return null
  if (seen.release !== wanted) return 'release'
  if (seen.service === null || seen.service.state === 'none' || seen.service.state === 'unknown') return null
  if (seen.service.state !== 'running') return 'service'
  return seen.service.release === null || seen.service.release === wanted ? null : 'processes'
}
