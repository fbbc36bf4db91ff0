import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { bootId, startTicks } from './processes.ts'

/** What systemd says of a unit. */
export interface Unit {
  unit: string
  active: string
  pid: number
  /** When its main process began; null if it has none. */
  ticks: string | null
  restarts: number
}

/**
 * What systemd said of units whose main process still is the same, which says that they run and were not started again: to ask
 * costs two processes some 20 ms. It stands in a file too: an agent that ssh started lives for one deployment.
 */
export class SeenUnits {
  readonly #path: string
  #seen: Map<string, { at: number; unit: Unit }> | null = null

  constructor(path: string) {
    this.#path = path
  }

  /** What was said of all of these, if it was within `age` milliseconds; what an agent before said counts from now. */
  of(units: readonly string[], age: number): Unit[] | null {
    this.#seen ??= this.#read()
    const now = performance.now()
    const known: Unit[] = []
    for (const name of units) {
      const seen = this.#seen.get(name)
      if (!seen || now - seen.at >= age || !isTrue(seen.unit)) return null
      known.push(seen.unit)
    }
    return known
  }

  /** Remembers what systemd just said. */
  keep(units: readonly Unit[]): void {
    this.#seen ??= new Map()
    const at = performance.now()
    for (const unit of units) this.#seen.set(unit.unit, { at, unit })
    // Not flushed: after a power cut it is of another boot.
    writeFileSync(
      `${this.#path}.new`,
      JSON.stringify({ boot: bootId(), units: [...this.#seen.values()].map(({ unit }) => unit).filter(isTrue) }),
      { mode: 0o600 },
    )
    renameSync(`${this.#path}.new`, this.#path)
  }

  /** What was said counts no more: something is about to change. */
  forget(): void {
    this.#seen = new Map()
  }

  #read(): Map<string, { at: number; unit: Unit }> {
    const at = performance.now()
    try {
      const { boot, units } = JSON.parse(readFileSync(this.#path, 'utf8')) as { boot: string; units: Unit[] }
      return new Map(boot === bootId() ? units.map((unit) => [unit.unit, { at, unit }]) : [])
    } catch {
      return new Map()
    }
  }
}

function isTrue({ active, pid, ticks }: Unit): boolean {
  return active === 'active' && ticks !== null && startTicks(pid) === ticks
}
