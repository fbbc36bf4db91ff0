import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { managerContract } from './contract-suite.ts'
import type { ManagerWorld } from './contract-world.ts'

const script = fileURLToPath(new URL('fixtures/restart.sh', import.meta.url))

/** The person's own commands: a script that keeps one process by a file with its id, as many did before systemd. */
managerContract({
  kind: 'command',
  skip: process.platform === 'linux' ? false : 'needs /proc',
  ownsProcesses: false,
  service: (world) => {
    const run = (verb: string) => `${script} ${verb} ${world.directory} ${process.execPath}`
    return { restart: run('restart'), status: run('status'), logs: run('logs') }
  },
  end: endKept,
})

function endKept(world: ManagerWorld): void {
  try {
    process.kill(Number(readFileSync(join(world.directory, 'pid'), 'utf8')), 'SIGKILL')
  } catch {
    // Nothing was started, or it has ended.
  }
}
