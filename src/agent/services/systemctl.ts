import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { DployError } from '../../protocol/errors.ts'

const run = promisify(execFile)

/** Room for `systemctl show` of many instances. Bytes. */
const maxBuffer = 4 * 1024 * 1024

/** Where units are written that belong to the machine's administrator (systemd.unit(5)). */
export const unitDirectory = '/etc/systemd/system'

/** Asks systemd. Throws `service.manager_unavailable`; `unit` is named as what to look at. */
export async function systemctl(unit: string, ...args: string[]): Promise<string> {
  try {
    return (await run('systemctl', args, { maxBuffer })).stdout
  } catch (error) {
    const { stderr, code } = error as { stderr?: string; code?: string | number }
    if (code === 'ENOENT') throw new DployError('service.manager_unavailable', 'There is no systemctl on this server')
    throw new DployError(
      'service.manager_unavailable',
      `systemctl ${args[0]} failed: ${(stderr ?? String(error)).trim()}`,
      { fix: `Run there: systemctl status ${unit}`, cause: error },
    )
  }
}

/** From here on exit codes are systemd's own: of what it did before the command ran (systemd.exec(5), Process Exit Codes). */
const ownCodes = 200

/**
 * Starts or restarts services with `Type=exec`. One whose command ran and ended before systemd had seen it run counts as
 * started, as one does that ends a moment later. Throws `service.manager_unavailable`.
 */
export async function startServices(
  verb: 'start' | 'restart',
  services: readonly string[],
  others: readonly string[] = [],
): Promise<void> {
  try {
    await systemctl(services[0]!, verb, ...others, ...services)
  } catch (error) {
    const ends = await systemctl(
      services[0]!,
      'show',
      '--property=ExecMainPID,ExecMainCode,ExecMainStatus,ActiveState',
      ...services,
    )
    const all = ends
      .trim()
      .split('\n\n')
      .map((block) => Object.fromEntries(block.split('\n').map((line) => line.split('=', 2) as [string, string])))
    const ran = all.every(
      ({ ActiveState, ExecMainPID, ExecMainCode, ExecMainStatus }) =>
        ActiveState === 'active' ||
        (Number(ExecMainPID) > 0 && Number(ExecMainCode) > 0 && Number(ExecMainStatus) < ownCodes),
    )
    if (!ran) throw error
  }
}
