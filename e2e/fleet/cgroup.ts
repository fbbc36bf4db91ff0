import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const top = '/sys/fs/cgroup'

/**
 * The control groups of one server, in each hierarchy that matters here. Each server must have its own: the systemd in it takes the
 * group it finds itself in for its own root, and would end another server's processes with its own.
 */
export class Cgroup {
  readonly #directories: string[]

  constructor(run: string, server: string) {
    const isUnified = existsSync(join(top, 'cgroup.controllers'))
    const hierarchies = isUnified
      ? [top]
      : ['systemd', 'unified', 'cpuacct'].map((name) => join(top, name)).filter((path) => existsSync(path))
    this.#directories = hierarchies.map((path) => join(path, run, server))
  }

  /** Makes the groups and gives back the files that a process writes its id to, to be in them. */
  create(): string[] {
    for (const directory of this.#directories) mkdirSync(directory, { recursive: true })
    return this.#directories.map((directory) => join(directory, 'cgroup.procs'))
  }

  /** Ends everything in it at once, where the kernel can (5.14 and newer). */
  kill(): void {
    for (const directory of this.#directories) {
      const file = join(directory, 'cgroup.kill')
      if (existsSync(file)) writeFileSync(file, '1')
    }
  }

  /** Seconds of CPU that the server's processes have used since the groups were made, those that ended too. */
  cpuSeconds(): number {
    for (const directory of this.#directories) {
      if (existsSync(join(directory, 'cpuacct.usage')))
        return Number(readFileSync(join(directory, 'cpuacct.usage'), 'utf8')) / 1e9
      const usage = existsSync(join(directory, 'cpu.stat'))
        ? /^usage_usec (\d+)/m.exec(readFileSync(join(directory, 'cpu.stat'), 'utf8'))
        : null
      if (usage && !this.#directories.some((other) => other.includes('/cpuacct/'))) return Number(usage[1]) / 1e6
    }
    return 0
  }

  /** Removes the groups. The kernel lets go of a dead process' group a moment late: waits up to 20 s. */
  async remove(): Promise<void> {
    for (const directory of this.#directories) {
      for (let attempt = 0; existsSync(directory); attempt += 1) {
        try {
          removeTree(directory)
        } catch (error) {
          if (attempt === 1_000) throw error
          await delay(20)
        }
      }
      try {
        rmdirSync(join(directory, '..'))
      } catch {
        // Another server of the run is still in it.
      }
    }
  }
}

function removeTree(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(join(directory, entry.name))
  rmdirSync(directory)
}
