import { randomBytes } from 'node:crypto'
import { lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** Clocks of processes and file systems agree this far. Milliseconds. */
const slack = 1_000

/** A name, not used before, for what lives only as long as this process works on it. */
export function scratchName(): string {
  return `${process.pid}-${randomBytes(8).toString('hex')}`
}

/**
 * Makes a directory of such things, and removes what killed processes left there. In a container every process may have
 * the same id: then what is older than this process was left.
 */
export function scratchDirectory(path: string): string {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  for (const name of readdirSync(path)) {
    const item = join(path, name)
    if (isLeft(Number(name.split('-')[0]), item)) rmSync(item, { recursive: true, force: true })
  }
  return path
}

function isLeft(pid: number, item: string): boolean {
  if (!(pid > 0)) return true
  if (pid !== process.pid) return !lives(pid)
  const stat = lstatSync(item, { throwIfNoEntry: false })
  return stat !== undefined && stat.mtimeMs < Date.now() - process.uptime() * 1000 - slack
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
