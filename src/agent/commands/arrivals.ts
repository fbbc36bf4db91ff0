import { randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startTicks } from '../services/processes.ts'

/** Files that are arriving on this server, by the process that writes them: what one that was killed left is removed by the next. */
export class Arrivals {
  readonly #directory: string

  constructor(stateDirectory: string) {
    this.#directory = join(stateDirectory, 'arriving')
  }

  /** Notes a file before it is made. The note is to be disposed of once the file is gone from there. */
  note(path: string): Disposable {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
    const note = join(this.#directory, `${process.pid}-${startTicks(process.pid)}-${randomUUID()}`)
    writeFileSync(note, path, { mode: 0o600 })
    return { [Symbol.dispose]: () => rmSync(note, { force: true }) }
  }

  /** Removes what is left of processes that are gone. */
  sweep(): void {
    for (const name of namesIn(this.#directory)) {
      const [pid, ticks] = name.split('-')
      if (startTicks(Number(pid)) === ticks) continue
      const note = join(this.#directory, name)
      try {
        const path = readFileSync(note, 'utf8')
        // A note that was cut off in the middle names no file of ours, which was not made yet.
        if (/\/\.[^/]*\.dploy-[0-9a-f-]{36}$/.test(path)) rmSync(path, { force: true })
        rmSync(note, { force: true })
      } catch {
        // Another agent sweeps too, or the next one will.
      }
    }
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
