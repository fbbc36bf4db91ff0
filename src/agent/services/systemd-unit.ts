import { shellText } from '../../protocol/command-line.ts'
import type { ServiceSpec } from '../../protocol/release-spec.ts'

/** What a unit is made of. */
export interface UnitOptions {
  application: string
  environment: string
  service: ServiceSpec
  /** Absolute path of `current`: which release runs is decided by where it points when the unit starts. */
  current: string
  environmentFile: string
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

[Service]
Type=exec
WorkingDirectory=${escapePath(options.current)}
EnvironmentFile=${escapePath(options.environmentFile)}
${options.instanceFiles === null ? '' : `EnvironmentFile=${escapePath(options.instanceFiles)}/%i\n`}ExecStart=/bin/sh -c ${quoteArgument(shellText(service.command!))}
${service.user === undefined ? '' : `User=${service.user}\n`}Restart=always
RestartSec=1
KillMode=control-group
KillSignal=${service.stop.signal}
TimeoutStopSec=${Math.max(1, service.stop.timeout)}ms
SyslogIdentifier=${options.application}

[Install]
WantedBy=multi-user.target
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
