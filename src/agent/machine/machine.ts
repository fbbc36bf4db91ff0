import { readFileSync, statfsSync } from 'node:fs'
import { availableParallelism, freemem, loadavg, totalmem } from 'node:os'
import type { MachineFacts } from '../../protocol/machine.ts'

/** Looks closer together than this share one measurement of the processors. Milliseconds. */
const least = 1_000

/** Reads how busy and how full this machine is. */
export class Machine {
  readonly #stat: string
  #before: { times: ProcessorTimes; at: number; cpu: number | null } | null = null

  /** `stat`: proc_stat(5). */
  constructor(stat = '/proc/stat') {
    this.#stat = stat
  }

  /** `paths`: where releases are; of these the fullest file system counts. Of those that cannot be read, nothing. */
  read(paths: readonly string[], now = performance.now()): MachineFacts {
    const disks = paths.flatMap(diskOf).sort((a, b) => a.free / a.total - b.free / b.total)
    return {
      load: loadavg()[0]!,
      processors: availableParallelism(),
      cpu: this.#cpu(now),
      // MemAvailable where Linux tells it (libuv, uv_get_free_memory).
      memory: { available: freemem(), total: totalmem() },
      disk: disks[0] ?? { free: 0, total: 0 },
    }
  }

  #cpu(now: number): number | null {
    const before = this.#before
    if (before !== null && now - before.at < least) return before.cpu
    const times = processorTimes(this.#stat)
    if (times === null) return null
    const cpu = before === null ? null : usedBetween(before.times, times)
    this.#before = { times, at: now, cpu }
    return cpu
  }
}

interface ProcessorTimes {
  idle: number
  total: number
}

/** Of all processors since the start: user nice system idle iowait irq softirq steal; guest times are within user and nice (proc_stat(5)). */
function processorTimes(path: string): ProcessorTimes | null {
  try {
    const line = /^cpu +(.+)$/m.exec(readFileSync(path, 'utf8'))
    if (!line) return null
    const times = line[1]!.trim().split(/ +/).slice(0, 8).map(Number)
    const total = times.reduce((sum, time) => sum + time, 0)
    return Number.isFinite(total) ? { idle: (times[3] ?? 0) + (times[4] ?? 0), total } : null
  } catch {
    return null
  }
}

function usedBetween(before: ProcessorTimes, after: ProcessorTimes): number | null {
  const total = after.total - before.total
  return total <= 0 ? null : Math.min(1, Math.max(0, 1 - (after.idle - before.idle) / total))
}

function diskOf(path: string): { free: number; total: number }[] {
  try {
    const { bavail, blocks, bsize } = statfsSync(path)
    return blocks === 0 ? [] : [{ free: bavail * bsize, total: blocks * bsize }]
  } catch {
    return []
  }
}
