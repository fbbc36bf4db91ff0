import type { MachineFacts } from '../../protocol/machine.ts'

/** How many samples of each server are kept, and how far apart they are at least: so an hour. Milliseconds. */
const kept = 120
const apart = 25_000

/** What a machine was at some time. Parts are 0 to 1; `cpu` is null where the machine does not tell. */
export interface Sample {
  at: number
  cpu: number | null
  memory: number
  disk: number
}

/**
 * How busy and how full servers are and were in the last hour, as their agents tell it. In memory alone, and of fixed size for each server: it is for looking,
 * not for keeping, and begins anew with the control plane.
 */
export class Vitals {
  readonly #servers = new Map<string, { latest: { at: number; machine: MachineFacts }; ring: Ring }>()

  add(serverId: string, machine: MachineFacts, at: number): void {
    const known = this.#servers.get(serverId)
    const ring = known?.ring ?? new Ring(kept)
    if (at - ring.newest >= apart) ring.add({ at, ...partsOf(machine) })
    this.#servers.set(serverId, { latest: { at, machine }, ring })
  }

  /** The newest; null where nothing was told, or nothing for longer than `oldest` milliseconds. */
  latest(serverId: string, now: number, oldest = 120_000): { at: number; machine: MachineFacts } | null {
    const found = this.#servers.get(serverId)
    return found && now - found.latest.at <= oldest ? found.latest : null
  }

  /** Of the last hour, the oldest first; at most so many, spread evenly, with the newest among them. */
  samples(serverId: string, now: number, most: number): Sample[] {
    const found = this.#servers.get(serverId)
    if (!found) return []
    const all = found.ring.read()
    if (found.latest.at > found.ring.newest) all.push({ at: found.latest.at, ...partsOf(found.latest.machine) })
    const since = now - kept * 30_000
    while (all.length > 0 && all[0]!.at <= since) all.shift()
    if (all.length <= most) return all
    const step = (all.length - 1) / Math.max(1, most - 1)
    return Array.from({ length: most }, (_, index) => all[all.length - 1 - Math.round((most - 1 - index) * step)]!)
  }

  /** The server is no server any more. */
  forget(serverId: string): void {
    this.#servers.delete(serverId)
  }
}

/** Used parts of a machine. */
export function partsOf({ cpu, memory, disk }: MachineFacts): Omit<Sample, 'at'> {
  const used = (free: number, total: number) => (total === 0 ? 0 : Math.min(1, Math.max(0, 1 - free / total)))
  return { cpu, memory: used(memory.available, memory.total), disk: used(disk.free, disk.total) }
}

/** Samples in 20 bytes each, the oldest overwritten; NaN stands for null. */
class Ring {
  readonly #at: Float64Array
  readonly #parts: Float32Array
  #written = 0
  newest = -Infinity

  constructor(size: number) {
    this.#at = new Float64Array(size)
    this.#parts = new Float32Array(size * 3)
  }

  add({ at, cpu, memory, disk }: Sample): void {
    const place = this.#written++ % this.#at.length
    this.#at[place] = this.newest = at
    this.#parts.set([cpu ?? Number.NaN, memory, disk], place * 3)
  }

  read(): Sample[] {
    const size = this.#at.length
    const count = Math.min(this.#written, size)
    return Array.from({ length: count }, (_, index) => {
      const place = (this.#written - count + index) % size
      const [cpu, memory, disk] = this.#parts.subarray(place * 3, place * 3 + 3)
      return { at: this.#at[place]!, cpu: Number.isNaN(cpu) ? null : cpu!, memory: memory!, disk: disk! }
    })
  }
}
