import { onServer, perServer, type Finding } from '../facts.ts'

const known: ReadonlySet<string> = new Set(['linux-x64', 'linux-arm64'])
/** What Node 24 for Linux is linked against (its BUILDING.md: glibc 2.28). */
const leastGlibc = [2, 28] as const

export const platform = perServer((server, facts) => {
  const { diagnosis } = server
  if (!diagnosis) return []
  const findings: Omit<Finding, 'server'>[] = []
  if (!known.has(diagnosis.platform)) {
    findings.push({
      severity: 'error',
      code: 'server.wrong_architecture',
      message: `It is ${diagnosis.platform}; the runtime is for ${[...known].join(' and ')}`,
      next: onServer(facts, server, ['uname', '-a']),
    })
  } else if (facts.asks.builds && diagnosis.platform !== facts.controlPlatform) {
    findings.push({
      severity: 'warning',
      code: 'server.wrong_architecture',
      message: `It is ${diagnosis.platform}, and builds are made on ${facts.controlPlatform}: compiled files will not run there`,
      next: onServer(facts, server, ['uname', '-m']),
    })
  }
  if (diagnosis.glibc !== null && isOlder(diagnosis.glibc, leastGlibc)) {
    findings.push({
      severity: 'error',
      code: 'server.libc_too_old',
      message: `Its C library is glibc ${diagnosis.glibc}; the runtime needs ${leastGlibc.join('.')}`,
      next: onServer(facts, server, ['cat', '/etc/os-release']),
    })
  }
  return findings
})

function isOlder(version: string, least: readonly [number, number]): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major < least[0] || (major === least[0] && minor < least[1])
}
