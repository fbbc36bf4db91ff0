/**
 * Names of what is not whole yet, with the process that makes it: there may be several agents on a server, of several
 * people, and one that begins removes what the dead left, not what another is in the middle of.
 */
export function unfinishedName(name: string): string {
  return `${name}.${process.pid}`
}

/** Whether nobody finishes it any more: its process is gone, or it has this one's number, which begins now. */
export function isLeft(name: string): boolean {
  const pid = Number(/\.(\d+)$/.exec(name)?.[1] ?? process.pid)
  if (pid === process.pid) return true
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}
