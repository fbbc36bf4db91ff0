import { readFileSync } from 'node:fs'

/** A process that cannot be mistaken for a later one with the same number. */
export interface Owner {
  pid: number
  /** Clock ticks since the machine's boot: field 22 of /proc/PID/stat. */
  started: string
}

/** The process of this number as it lives now, or undefined when there is none. */
export function ownerOf(pid: number): Owner | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined
    return { pid, started: fields[19]! }
  } catch {
    return undefined
  }
}

export function isAlive(owner: Owner): boolean {
  return ownerOf(owner.pid)?.started === owner.started
}

/** Ends exactly this process, never one that got its number later. */
export function endOwner(owner: Owner, signal: NodeJS.Signals = 'SIGKILL'): void {
  if (!isAlive(owner)) return
  try {
    process.kill(owner.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
