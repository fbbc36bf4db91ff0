import { DployError } from '../protocol/errors.ts'
import { agentBundle } from './agent-bundle.ts'
import type { Ssh, SshServer } from './ssh.ts'

export interface Installation {
  /** Address of the control plane, as servers reach it. */
  url: string
  /** The script that the control plane serves. */
  script: string
  /** A join token, asked for when all else is in place. */
  token: () => Promise<string>
  /** The control plane has forgotten the key that the machine holds. */
  newKey: boolean
  signal: AbortSignal
}

/**
 * Makes a machine a server: brings Node and the agent as for a deployment over ssh, then lets the control plane's own
 * script do the rest, which finds both in place. The token goes by standard input, never as an argument.
 * Throws as `sshFailure` says, `server.no_sudo`, and `server.install_failed` with what the script said.
 */
export async function installAgent(
  ssh: Ssh,
  server: SshServer,
  { url, script, token, newKey, signal }: Installation,
): Promise<void> {
  const { carrier, agent } = ssh.connect(server, signal)
  const { access, refusal, ended } = await agent
  carrier.close('the agent is placed')
  await ended
  if (access === 'user')
    throw new DployError(
      'server.no_sudo',
      `Installing the agent on ${server.name} needs root, and sudo says: ${refusal ?? 'nothing'}`,
      { where: server.name },
    )
  const input = `DPLOY_JOIN_TOKEN='${plain(await token())}'\n${await otherVersion(script)}${script}`
  const { code, stderr, stdout } = await ssh.run(
    server,
    `${access === 'sudo' ? 'sudo -n ' : ''}sh -s -- --url '${plain(url)}' --name '${plain(server.name)}'${newKey ? ' --new-key' : ''}`,
    input,
    signal,
  )
  if (code !== 0)
    throw new DployError(
      'server.install_failed',
      `The agent could not be installed on ${server.name}: ${lastWords(stderr || stdout)}`,
      { where: server.name },
    )
}

/**
 * The control plane's script asks for the agent of its own version. Where this program is of another, and the server can download nothing, the
 * agent that was placed serves: it follows the version of its control plane as soon as it has joined.
 */
async function otherVersion(script: string): Promise<string> {
  const wanted = /\bbundle=([0-9a-f]{64})\b/.exec(script)?.[1]
  const { sha256 } = await agentBundle()
  if (wanted === undefined || wanted === sha256) return ''
  return `[ -s /var/lib/dploy/agent/${wanted}.mjs ] || command -v curl >/dev/null || command -v wget >/dev/null || set -- "$@" --bundle ${sha256}\n`
}

/** For single quotes of a shell. Throws `request.invalid` for what could end them. */
function plain(text: string): string {
  if (!/^[A-Za-z0-9._:/[\]-]+$/.test(text))
    throw new DployError('request.invalid', `"${text.slice(0, 100)}" cannot be given to a shell`)
  return text
}

function lastWords(text: string): string {
  return text
    .trim()
    .split('\n')
    .slice(-3)
    .join(' ')
    .replace(/^dploy: /, '')
    .slice(0, 500)
}
