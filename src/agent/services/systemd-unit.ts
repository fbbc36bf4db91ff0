import { shellText } from '../../protocol/command-line.ts'
import type { ServiceSpec } from '../../protocol/release-spec.ts'

/** What a unit is made of. */
export interface UnitOptions {
  application: string
  environment: string
  service: ServiceSpec
  /** Absolute path of the working directory. `current`: which release runs is decided by where it points when the unit starts. */
  directory: string
  environmentFile: string
  /** NAME=value by which the log of all units of the service is found, whichever release they run; left out: by unit. */
  logField?: string
  /** The socket units that it is given; left out: none. */
  sockets?: readonly string[]
  /** A directory with a file of its own per instance, which holds its PORT; null: one instance whose PORT is in the environment file. */
  instanceFiles: string | null
}

/** The text of the unit (systemd.service(5), systemd.exec(5), systemd.kill(5)). It changes only when the service definition does. */
export function unitText(options: UnitOptions): string {
  const { service } = options
  return `# Written by dploy; changes are overwritten.
[Unit]
Description=${options.application} ${options.environment}${options.instanceFiles === null ? '' : ' instance %i'} (dploy)
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0
${options.logField === undefined ? '' : 'CollectMode=inactive-or-failed\n'}
[Service]
Type=exec
WorkingDirectory=${escapePath(options.directory)}
EnvironmentFile=${escapePath(options.environmentFile)}
${options.instanceFiles === null ? '' : `EnvironmentFile=${escapePath(options.instanceFiles)}/%i\n`}ExecStart=/bin/sh -c ${quoteArgument(shellText(service.command!))}
${service.user === undefined ? '' : `User=${service.user}\n`}Restart=always
RestartSec=1
KillMode=control-group
KillSignal=${service.stop.signal}
TimeoutStopSec=${Math.max(1, service.stop.timeout)}ms
SyslogIdentifier=${options.application}
${options.logField === undefined ? '' : `LogExtraFields=${options.logField}\n`}${(options.sockets ?? []).map((unit) => `Sockets=${unit}\n`).join('')}
[Install]
WantedBy=multi-user.target
`
}

/** The text of a socket that outlives the releases that accept on it (systemd.socket(5)). */
export function socketText(options: {
  application: string
  environment: string
  listen: string
  service: string
}): string {
  return `# Written by dploy; changes are overwritten.
[Unit]
Description=${options.application} ${options.environment} socket (dploy)

[Socket]
ListenStream=${options.listen}
Service=${options.service}
Backlog=4096

[Install]
WantedBy=sockets.target
`
}

/** What a socket starts when nobody accepts on it: nothing, and it waits. Releases are started by the agent alone. */
export function idleText(): string {
  return `# Written by dploy; changes are overwritten.
[Unit]
Description=stands for the releases that share a socket (dploy)

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
`
}

/** One argument of ExecStart, whatever characters it has (systemd.service(5), "Command lines"; systemd.syntax(7), "Quoting"). */
export function quoteArgument(text: string): string {
  let quoted = ''
  for (const character of text) {
    const code = character.codePointAt(0)!
    if (character === '"' || character === '\\') quoted += `\\${character}`
    else if (character === '%') quoted += '%%'
    else if (character === '$') quoted += '$$'
    else if (character === '\n') quoted += '\\n'
    else if (character === '\t') quoted += '\\t'
    else if (code < 32 || code === 127) quoted += `\\x${code.toString(16).padStart(2, '0')}`
    else quoted += character
  }
  return `"${quoted}"`
}

/** Variables as an EnvironmentFile (systemd.exec(5)): in double quotes only `"`, `\\`, `` ` `` and `$` need a backslash. */
export function environmentText(variables: Readonly<Record<string, string>>): string {
  return Object.entries(variables)
    .map(([name, value]) => `${name}="${value.replace(/["\\`$]/g, '\\$&')}"\n`)
    .join('')
}

function escapePath(path: string): string {
  return path.replaceAll('%', '%%')
}
