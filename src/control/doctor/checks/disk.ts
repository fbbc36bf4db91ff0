import { formatBytes } from '../../../protocol/bytes.ts'
import { onServer, perServer, type Finding } from '../facts.ts'

/** Less than this is not enough for any release, its logs and the agent's journal. */
const leastBytes = 100_000_000
const leastInodes = 1_000
/** Below this share, something else will fill it soon. */
const little = 0.05

/** Room for another release as large as the one that serves, in bytes and in files. */
export const disk = perServer((server, facts) => {
  const { diagnosis } = server
  if (!diagnosis) return []
  const seen = new Set<string>()
  return diagnosis.disks.flatMap((one, index): Omit<Finding, 'server'>[] => {
    // Two paths on one file system are one finding.
    const key = `${one.totalBytes} ${one.freeBytes} ${one.freeInodes}`
    if (seen.has(key)) return []
    seen.add(key)
    const release = index === 0 ? diagnosis.release : { bytes: 0, files: 0 }
    const needBytes = Math.max(leastBytes, release.bytes * 1.2)
    const needInodes = Math.max(leastInodes, release.files * 1.2)
    const next = onServer(facts, server, ['du', '-xhd1', one.path])
    const findings: Omit<Finding, 'server'>[] = []
    if (one.freeBytes < needBytes) {
      findings.push({
        severity: 'error',
        code: 'server.disk_full',
        message: `The disk of ${one.path} has ${formatBytes(one.freeBytes)} left; a deployment needs ${formatBytes(needBytes)}`,
        next,
      })
    } else if (one.freeBytes < one.totalBytes * little) {
      findings.push({
        severity: 'warning',
        code: 'server.disk_full',
        message: `The disk of ${one.path} has ${formatBytes(one.freeBytes)} of ${formatBytes(one.totalBytes)} left`,
        next,
      })
    }
    if (one.totalInodes > 0 && one.freeInodes < needInodes) {
      findings.push({
        severity: 'error',
        code: 'server.inodes_full',
        message: `The disk of ${one.path} has room for ${one.freeInodes} more files; a deployment needs ${Math.ceil(needInodes)}`,
        next: onServer(facts, server, ['du', '--inodes', '-xd1', one.path]),
      })
    }
    return findings
  })
})
