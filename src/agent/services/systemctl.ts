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
    throw new DployError('service.manager_unavailable', `systemctl ${args[0]} failed: ${(stderr ?? String(error)).trim()}`, { fix: `Run there: systemctl status ${unit}`, cause: error })
  }
}
