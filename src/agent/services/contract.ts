import type { ServiceState } from '../../protocol/agent-messages.ts'
import type { ServiceSpec } from '../../protocol/release-spec.ts'
import type { OwnProcesses } from './listener.ts'

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

/** Where a socket listens that a manager holds and hands to processes; `host` null: every address. */
export interface ListenAddress {
  host: string | null
  port: number
}

/** Processes of one release (or of its trial) beside others of the same service. */
export interface ServiceRun {
  /** The name it was started under. */
  name: string
  /** Whether it is what the service's state, end and log are about. */
  serving: boolean
  /** Process ids, one per instance that runs. */
  pids: number[]
  /** How long its processes have to end. Milliseconds. */
  stopTimeout: number
}

/** What a manager can that keeps releases beside each other. The runs survive the agent. */
export interface Beside {
  /**
   * Starts a release's processes beside all others, in the release's own directory, under a name that nothing has. `sockets` listen from then on,
   * outside of any process, until no run needs them, and are given to each instance (sd_listen_fds(3)).
   */
  start(name: string, release: ServiceRelease, sockets: readonly ListenAddress[]): Promise<void>
  /** Does what can be done early, so that starting the run later takes less time. */
  prepare(name: string, release: ServiceRelease, sockets: readonly ListenAddress[]): Promise<void>
  /** From now on this run is the service, also after a boot of the machine. Takes no time: nothing is started or ended. */
  serve(name: string): Promise<void>
  /** Asks a run's processes to end, by its own definition; resolves when they have. Nothing happens if there is none. */
  end(name: string): Promise<{ killed: boolean }>
  runs(): Promise<ServiceRun[]>
  /** Whether the manager still holds a socket: without it two releases cannot share it. */
  holds(address: ListenAddress): Promise<boolean>
  /** As `exited` of the service, of one run. */
  exited(name: string, signal: AbortSignal): Promise<never>
}

/**
 * Who keeps the processes of a service. The processes survive the agent. Errors: `service.manager_unavailable` when the
 * manager cannot be used on this server.
 */
export interface ServiceManager {
  readonly kind: 'systemd' | 'process' | 'command'
  /** Null: it can only replace one release by another. */
  readonly beside: Beside | null
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
  /** What tells the service's processes, those of all its releases, from others; null: nobody can know. */
  processes(): Promise<OwnProcesses | null>
  /** Rejects with `service.exited` the moment an instance that runs now ends by itself, with the last lines it printed. Stops looking when the signal aborts. */
  exited(signal: AbortSignal): Promise<never>
  /** The last lines, and with `follow` what comes until the signal aborts. */
  logs(options: { lines: number; follow: boolean; signal: AbortSignal }, onLine: (line: LogLine) => void): Promise<void>
}
