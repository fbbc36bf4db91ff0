import type { ServiceSpec } from '../../protocol/release-spec.ts'
import { DployError } from '../../protocol/errors.ts'
import { CommandManager } from './command.ts'
import type { ServiceManager, ServicePlace } from './contract.ts'
import { ProcessManager } from './process.ts'
import { SystemdManager, systemdIsHere } from './systemd.ts'

export interface ManagerOptions {
  /** The command that runs a process keeper. */
  keeper: { file: string; args: string[] }
  /** Whether release directories are those of the machine itself, not of a directory that stands for one. */
  ownsMachine: boolean
}

/** Each manager by its kind. A new one is a file, and a line here. */
const managers = {
  systemd: (place: ServicePlace) => new SystemdManager(place),
  process: (place: ServicePlace, options: ManagerOptions) => new ProcessManager(place, options.keeper),
  command: (place: ServicePlace) => new CommandManager(place),
} satisfies Record<ServiceManager['kind'], (place: ServicePlace, options: ManagerOptions) => ServiceManager>

/** Whether to look at a service of this kind may start it: its keeper is started by whoever asks first, after a reboot. */
export function startsWhenSeen(
  kind: ServiceSpec['manager'],
  { ownsMachine }: Pick<ManagerOptions, 'ownsMachine'>,
): boolean {
  return kind === 'process' || (kind === 'auto' && !(ownsMachine && systemdIsHere()))
}

/** The manager that a service asks for; `auto` is systemd where it is PID 1. Throws `service.manager_unavailable`. */
export function openManager(
  kind: ServiceSpec['manager'],
  place: ServicePlace,
  options: ManagerOptions,
): ServiceManager {
  const systemd = options.ownsMachine && systemdIsHere()
  if (kind === 'systemd' && !systemd) {
    throw new DployError('service.manager_unavailable', 'systemd is not PID 1 here, or the agent is not root', {
      fix: 'Set service.manager to process in dploy.yml, or run the agent as root on a systemd server',
    })
  }
  return managers[kind === 'auto' ? (systemd ? 'systemd' : 'process') : kind](place, options)
}
