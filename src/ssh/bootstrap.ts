import { accessScript, placeScript } from './bootstrap-script.ts'
import { minimumMajor, runtimes, type Architecture } from './runtime.ts'

/** How the agent runs on a server: as root, as root by sudo, or as the user because sudo was refused. */
export type Access = 'root' | 'sudo' | 'user'

export type BootstrapLine =
  | { kind: 'sudo'; why: string }
  | { kind: 'need'; what: 'runtime' | 'agent'; arch: Architecture; libc: string; tool: 'curl' | 'wget' | 'none' }
  | { kind: 'wrong'; what: 'runtime' | 'agent' }
  | { kind: 'stop'; reason: string; details: string }
  | { kind: 'ready'; state: string; user: string; access: Access }

/** The one argument that ssh is given to run. `agent` is the SHA-256 of the agent's bundle. */
export function bootstrapCommand(agent: string): string {
  const values = [agent, runtimes.x64.sha256, runtimes.arm64.sha256, String(minimumMajor)]
  return ['sh', '-c', quoted(accessScript), 'dploy', quoted(placeScript), ...values.map(quoted)].join(' ')
}

/** One line of the bootstrap's; null for what a server's profile printed. */
export function readBootstrapLine(line: string): BootstrapLine | null {
  const [mark, kind, ...words] = line.trim().split(' ')
  if (mark !== 'dploy') return null
  const rest = words.join(' ')
  switch (kind) {
    case 'sudo':
      return { kind, why: rest }
    case 'need': {
      const [what, arch, libc, tool] = words as ['runtime', Architecture, string, 'curl']
      return { kind, what, arch, libc, tool }
    }
    case 'wrong':
      return { kind, what: words[0] as 'runtime' }
    case 'stop':
      return { kind, reason: words[0] ?? '', details: words.slice(1).join(' ') }
    case 'ready':
      return { kind, state: words.slice(0, -2).join(' '), user: words.at(-2) ?? '', access: words.at(-1) as Access }
    default:
      return null
  }
}

/** In single quotes every shell takes a text as it is; ours hold neither a quote nor a backslash. */
function quoted(text: string): string {
  if (/['\\]/.test(text)) throw new Error('A text with a quote or a backslash cannot be quoted for every shell')
  return `'${text}'`
}
