import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'

/** Names this process so that another on the same machine can tell whether it still lives: `host:pid:start`. */
export function holderOfThisProcess(): string {
  return `${hostname()}:${process.pid}:${startOf(process.pid) ?? 'unknown'}`
}

/** Whether the holder certainly lives no more: it ran on this machine and its process is gone or is another one. */
export function isDeadHolder(holder: string): boolean {
  const match = /^(.*):(\d+):([^:]*)$/.exec(holder)
  if (!match || match[1] !== hostname()) return false
  const pid = Number(match[2])
  const start = startOf(pid)
  if (start === null) return !isAlive(pid)
  return match[3] !== 'unknown' && start !== match[3]
}

/** Start time in clock ticks since boot; null where there is no such process, or no /proc. Field 22 of proc_pid_stat(5). */
function startOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
  } catch {
    return null
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
