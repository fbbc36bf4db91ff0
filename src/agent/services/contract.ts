import type { ServiceState } from '../../protocol/agent-messages.ts'
import type { ServiceSpec } from '../../protocol/release-spec.ts'

/** The service of one application's environment on this server. */
export interface ServicePlace {
  application: string
  environment: string
  /** Absolute path of the application's directory; `current` in it is what serves. */
  directory: string
  /** Where the manager keeps what it needs; survives the agent. */
  stateDirectory: string
}

/** A release as a manager runs it. */
export interface ServiceRelease {
  number: number
  /** Absolute path of its tree. */
  path: string
  service: ServiceSpec
  /** The whole environment of the processes, without PORT. */
  env: Readonly<Record<string, string>>
  /** One per instance, given as PORT; empty: the service has no port, and one instance each all the same. */
  ports: readonly number[]
}

export interface LogLine {
  /** Epoch milliseconds; null when the manager does not know. */
  at: number | null
  text: string
}

/**
 * Who keeps the processes of a service. The processes survive the agent. Errors: `service.manager_unavailable` when the
 * manager cannot be used on this server.
 */
export interface ServiceManager {
  readonly kind: 'systemd' | 'process' | 'command'
  /**
   * Makes the service run this release: ends the old processes gracefully, calls `flip` (which switches `current`) when
   * the new ones are to be started, starts them. Resolves when they are started, not when they are healthy.
   */
  replace(release: ServiceRelease, flip: () => void): Promise<{ killed: boolean }>
  /** Called when the agent starts: brings back what should run and does not, since nothing else would (after a reboot). */
  ensure(): Promise<void>
  /** Ends the service, and keeps it ended. */
  stop(): Promise<void>
  observe(): Promise<ServiceState>
  /** Rejects with `service.exited` the moment an instance that runs now ends by itself, with the last lines it printed. Stops looking when the signal aborts. */
  exited(signal: AbortSignal): Promise<never>
  /** The last lines, and with `follow` what comes until the signal aborts. */
  logs(options: { lines: number; follow: boolean; signal: AbortSignal }, onLine: (line: LogLine) => void): Promise<void>
}
