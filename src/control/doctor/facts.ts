import type { BalancerConfig } from '../../protocol/config/config.ts'
import type { Diagnosis } from '../../protocol/diagnosis.ts'
import type { ErrorCode, ErrorReport } from '../../protocol/errors.ts'
import type { FindingReport } from '../../protocol/api/doctor.ts'
import { typed } from '../../protocol/typed.ts'
import { readDestination, typedDestination } from '../../ssh/destination.ts'

/** All that is known of an environment before anything is changed. Times are epoch milliseconds. */
export interface EnvironmentFacts {
  application: string
  environment: string
  now: number
  /** Number of the release that it is meant to run; null before the first deployment. */
  wanted: number | null
  /** Servers were ahead of what this control plane knew, and nobody has looked since; null: all is known. */
  takenOver: { text: string; next: string } | null
  /** What dploy.yml asks for. */
  asks: {
    /** Whether something is built, on the machine of the control plane. */
    builds: boolean
    manager: 'auto' | 'systemd' | 'process' | 'command' | null
    /** The user that the service is to run as. */
    user: string | null
    balancer: BalancerConfig
  }
  /** What ssh is told to read in place of the person's own configuration; null: nothing else. */
  sshConfig: string | null
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
  return (facts) =>
    facts.servers.flatMap((server) => check(server, facts).map((finding) => ({ server: server.name, ...finding })))
}

/** A command to type that runs on a server through its agent. What comes from the server itself cannot become more than a word of it. */
export function onServer(
  facts: EnvironmentFacts,
  server: ServerFacts,
  command: readonly string[],
  options: readonly string[] = [],
): string {
  return typed(['dploy', 'exec', facts.environment, '--on', server.name, ...options, '--', ...command])
}

/** A command to type that lets a user become root without a password, by somebody who may do so with one. `user` null: who logs in. */
export function allowSudo(facts: EnvironmentFacts, server: ServerFacts, user: string | null): string {
  const line = `${user ?? '$(id -un)'} ALL=(ALL:ALL) NOPASSWD: ALL`
  const there = `echo ${user === null ? `"${line}"` : typed([line])} | sudo install -m 440 /dev/stdin /etc/sudoers.d/dploy`
  return `ssh -t ${typedDestination(readDestination(server.address ?? server.name), facts.sshConfig)} ${typed([there])}`
}

/** A command to type that runs on a server whose agent cannot be used, or may not do it. sudo gets a terminal to ask for a password in. */
export function bySsh(facts: EnvironmentFacts, server: ServerFacts, command: readonly string[]): string {
  const destination = typedDestination(readDestination(server.address ?? server.name), facts.sshConfig)
  // The shell there takes it apart once more.
  const there = typed(command)
  return `ssh ${command[0] === 'sudo' ? '-t ' : ''}${destination} ${there === command.join(' ') ? there : typed([there])}`
}
