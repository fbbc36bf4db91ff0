import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cacheDirectory } from './root.ts'
import { isAlive, type Owner } from './owner.ts'

/**
 * What exists of one fleet, on disk before it exists in the kernel, so that anyone can take it down. The number is the run's id: every
 * name (bridge dpf7, namespace dpf7-web1, cgroup dpf7) and its address range follow from it.
 */
export interface Run {
  number: number
  name: string
  /** The fleet lives as long as this process; without one, until somebody takes it down. */
  owner: Owner | undefined
  /** The first three numbers of its /24. */
  network: string
  servers: RunServer[]
}

export interface RunServer {
  name: string
  address: string
  /** The systemd-nspawn process, while the server is on. */
  process: Owner | undefined
}

const directory = '/run/dploy-fleet'

export function runDirectory(number: number): string {
  return join(directory, String(number))
}

/** Where the servers' own disks are. Not under /run, which is memory. */
export function diskDirectory(number: number): string {
  return join(cacheDirectory(), 'disks', String(number))
}

export function bridgeOf(run: Pick<Run, 'number'>): string {
  return `dpf${run.number}`
}

/** The name of a server's network namespace, cgroup and machine. */
export function machineOf(run: Pick<Run, 'number'>, server: string): string {
  return `dpf${run.number}-${server}`
}

/** Takes the lowest free number, for one process only. `choose` gives the network of a number, or undefined where none is unused. */
export function claimRun(name: string, owner: Owner | undefined, choose: (number: number) => string | undefined): Run {
  mkdirSync(directory, { recursive: true, mode: 0o755 })
  for (let number = 1; number <= 200; number += 1) {
    const network = choose(number)
    if (!network) continue
    const run: Run = { number, name, owner, network, servers: [] }
    // Made elsewhere and renamed, so that no number is ever taken without saying by whom; rename(2) refuses where a full directory is.
    const claim = mkdtempSync(join(directory, 'claim-'))
    try {
      writeFileSync(join(claim, 'state.json'), JSON.stringify(run, undefined, 2))
      renameSync(claim, runDirectory(number))
      return run
    } catch (error) {
      rmSync(claim, { recursive: true })
      if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    }
  }
  throw new Error('No number or no unused address range is left for another fleet. Look at: bin/fleet list')
}

export function saveRun(run: Run): void {
  const path = join(runDirectory(run.number), 'state.json')
  writeFileSync(`${path}.new`, JSON.stringify(run, undefined, 2))
  renameSync(`${path}.new`, path)
}

export function readRun(number: number): Run | undefined {
  try {
    return JSON.parse(readFileSync(join(runDirectory(number), 'state.json'), 'utf8')) as Run
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** All fleets of this machine, those of dead processes too. */
export function listRuns(): Run[] {
  let names: string[]
  try {
    names = readdirSync(directory)
  } catch {
    return []
  }
  return names
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readRun(Number(name)))
    .filter((run) => run !== undefined)
    .sort((a, b) => a.number - b.number)
}

export function isAbandoned(run: Run): boolean {
  return run.owner !== undefined && !isAlive(run.owner)
}
