import type { BalancerConfig } from '../../protocol/config.ts'
import type { Diagnosis } from '../../protocol/diagnosis.ts'
import type { ErrorCode, ErrorReport } from '../../protocol/errors.ts'
import type { FindingReport } from '../../protocol/api/doctor.ts'

/** All that is known of an environment before anything is changed. Times are epoch milliseconds. */
export interface EnvironmentFacts {
  application: string
  environment: string
  now: number
  /** Number of the release that it is meant to run; null before the first deployment. */
  wanted: number | null
  /** What dploy.yml asks for. */
  asks: {
    /** Whether something is built, on the machine of the control plane. */
    builds: boolean
    manager: 'auto' | 'systemd' | 'process' | 'command' | null
    /** The user that the service is to run as. */
    user: string | null
    balancer: BalancerConfig
  }
  /** `linux-x64`: where builds run. */
  controlPlatform: string
  /** What the balancer's own check says; null: all is well, or there is none. */
  balancerProblem: ErrorReport | null
  secretsProblem: ErrorReport | null
  servers: ServerFacts[]
}

export interface ServerFacts {
  name: string
  /** Where a person reaches it; null: by its name. */
  address: string | null
  /** Whether an agent ever joined under this name. */
  joined: boolean
  connected: boolean
  /** It is of the group that does not serve, and keeps the release before. */
  idle: boolean
  lastSeenAt: number | null
  /** Since when it is refused because two machines hold its key. */
  lockedAt: number | null
  /** The server's clock minus ours. Milliseconds; null when it is not connected. */
  clockSkew: number | null
  diagnosis: Diagnosis | null
  /** Why it is not connected; or, where it is, why there is no diagnosis. */
  problem: ErrorReport | null
}

export interface Finding extends FindingReport {
  code: ErrorCode
}

/** Looks at facts and says what is wrong. Pure: no I/O, no clock. */
export type Check = (facts: EnvironmentFacts) => Finding[]

/** A check of each server by itself; `server` is filled in. */
export function perServer(check: (server: ServerFacts, facts: EnvironmentFacts) => Omit<Finding, 'server'>[]): Check {
  return (facts) => facts.servers.flatMap((server) => check(server, facts).map((finding) => ({ server: server.name, ...finding })))
}

/** A command to type that runs on a server through its agent. */
export function onServer(facts: EnvironmentFacts, server: ServerFacts, command: string, options = ''): string {
  return `dploy exec ${facts.environment} --on ${server.name}${options} -- ${command}`
}

/** A command to type that runs on a server whose agent cannot be used. */
export function bySsh(server: ServerFacts, command: string): string {
  const match = /^(.*):(\d+)$/.exec(server.address ?? server.name)
  return match ? `ssh -p ${match[2]} ${match[1]} ${command}` : `ssh ${server.address ?? server.name} ${command}`
}
