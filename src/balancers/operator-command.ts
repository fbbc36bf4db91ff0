import { homedir, tmpdir } from 'node:os'
import { runCommand } from '../protocol/command-line.ts'

/** How much of what a command printed is kept, from its end. Characters. */
const kept = 4 * 1024 * 1024

/**
 * Runs a command line of dploy.yml on the machine of the control plane, with a clean environment: PATH with the sbin
 * directories, HOME, LANG and what is given. Throws `command.timeout`, or the signal's reason; not when it fails.
 */
export async function runOperatorCommand(options: {
  command: string
  env?: Record<string, string>
  timeout: number
  signal: AbortSignal
}): Promise<{ failed: string | null; output: string }> {
  let output = ''
  const { code, signal } = await runCommand({
    command: options.command,
    cwd: tmpdir(),
    env: {
      PATH: `${process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin'}:/usr/local/sbin:/usr/sbin:/sbin`,
      HOME: homedir(),
      LANG: 'C.UTF-8',
      ...options.env,
    },
    timeout: options.timeout,
    signal: options.signal,
    onOutput: (_stream, text) => (output = (output + text).slice(-kept)),
  })
  return { failed: code === 0 ? null : code === null ? `ended by ${signal}` : `exit code ${code}`, output }
}

/** The last lines that a command printed, for a message. */
export function lastLines(output: string, count = 3): string {
  return output.trim().split('\n').slice(-count).join('\n')
}
