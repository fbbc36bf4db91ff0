import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs'
import { basename } from 'node:path'

/** Start time of a process in clock ticks since boot, which with its id names it for good; null if there is none. proc_pid_stat(5), field 22. */
export function startTicks(pid: number): string | null {
  const fields = statFields(pid)
  // A zombie has ended, whatever its parent still has to do about it.
  return fields === null || fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null)
}

/** Number of the release whose directory a process runs in; null if it runs elsewhere. */
export function releaseOf(pid: number, applicationDirectory: string): number | null {
  try {
    const cwd = readlinkSync(`/proc/${pid}/cwd`)
    const inside = cwd.startsWith(`${applicationDirectory}/releases/`)
      ? cwd.slice(applicationDirectory.length + '/releases/'.length)
      : basename(cwd)
    const match = /^(\d+)(\/|$)/.exec(inside)
    return match ? Number(match[1]) : null
  } catch {
    return null
  }
}

/** Process groups of which a member has this file as its standard output or error. */
export function groupsWritingTo(path: string): Set<number> {
  const groups = new Set<number>()
  if (!existsSync(path)) return groups
  const file = realpathSync(path)
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || ![1, 2].some((descriptor) => linkOf(`/proc/${name}/fd/${descriptor}`) === file)) continue
    const [state, , group] = statFields(Number(name)) ?? []
    if (group !== undefined && state !== 'Z' && state !== 'X') groups.add(Number(group))
  }
  return groups
}

/** Differs at each start of the machine. random(4). */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}

/** Epoch milliseconds at which a process started; null if there is none. */
export function startedAt(pid: number): number | null {
  const ticks = startTicks(pid)
  if (ticks === null) return null
  const uptime = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0])
  // The kernel reports in USER_HZ, which is 100 on every Linux that Node runs on.
  return Math.round(Date.now() - (uptime - Number(ticks) / 100) * 1000)
}

function linkOf(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null
  }
}

function statFields(pid: number): string[] | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  } catch {
    return null
  }
}
