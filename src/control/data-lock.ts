import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DployError } from '../protocol/errors.ts'
import { holderOfThisProcess, isDeadHolder } from './deploy/lock/holder.ts'

/**
 * Makes this process the only one that serves from a data directory. A file with the owner's name, made by link(2),
 * which of two that try lets one win; one whose owner is dead is taken over. Throws `deployment.conflict`.
 */
export function lockData(data: string): Disposable {
  const path = join(data, 'serving')
  const mine = `${path}.${process.pid}`
  writeFileSync(mine, holderOfThisProcess())
  try {
    for (let attempt = 0; ; attempt++) {
      try {
        linkSync(mine, path)
        break
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || attempt > 5) throw error
        const owner = read(path)
        if (owner !== null && !isDeadHolder(owner)) {
          throw new DployError('deployment.conflict', `A control plane already serves from ${data} (${owner})`, {
            where: data,
            fix: 'Stop it first, or choose another directory with --data',
          })
        }
        rmSync(path, { force: true })
      }
    }
  } finally {
    rmSync(mine, { force: true })
  }
  return {
    [Symbol.dispose]() {
      rmSync(path, { force: true })
    },
  }
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
