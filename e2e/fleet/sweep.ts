import { mkdirSync, rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { Cgroup } from './cgroup.ts'
import { removeDisks } from './disk.ts'
import { restoreLimits } from './limits.ts'
import { lockFile } from './lock.ts'
import { processesIn, removeNetwork } from './network.ts'
import { endOwner, isAlive } from './owner.ts'
import { bridgeOf, isAbandoned, listRuns, readRun, runDirectory, type Run, type RunServer } from './run.ts'

/** Takes a fleet down, whoever made it and however far that got: processes, file systems, groups, network, then its state. Asked twice, it does nothing. */
export async function sweepRun(number: number): Promise<void> {
  mkdirSync('/run/dploy-fleet', { recursive: true })
  // The owner and its watchdog may both want to.
  await using _lock = await lockFile('/run/dploy-fleet/lock', 120_000)
  const run = readRun(number)
  if (!run) return
  await Promise.all(run.servers.map((server) => killServer(run, server)))
  await removeDisks(run)
  for (const server of run.servers) await new Cgroup(bridgeOf(run), server.name).remove()
  await removeNetwork(run)
  rmSync(runDirectory(number), { recursive: true })
  if (listRuns().length === 0) restoreLimits()
}

/** Takes down the fleets of processes that are no more. */
export async function sweepAbandoned(): Promise<Run[]> {
  const abandoned = listRuns().filter(isAbandoned)
  for (const run of abandoned) await sweepRun(run.number)
  return abandoned
}

/** Ends every process of a server at once, as a power loss does, and waits until none is left. */
export async function killServer(run: Run, server: RunServer): Promise<void> {
  const cgroup = new Cgroup(bridgeOf(run), server.name)
  const patience = AbortSignal.timeout(20_000)
  for (;;) {
    cgroup.kill()
    if (server.process) endOwner(server.process)
    const left = await processesIn(run, server)
    for (const pid of left) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It has ended since.
      }
    }
    if (left.length === 0 && !(server.process && isAlive(server.process))) return
    await delay(10, undefined, { signal: patience })
  }
}
