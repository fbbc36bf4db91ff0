import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import { DployError, reportOf } from '../protocol/errors.ts'
import { systemctl } from './services/systemctl.ts'

/** `served`: the release that took their place; null: none has yet, or it was gone back. */
const recordSchema = z.object({ stopped: z.array(z.string()), served: z.number().nullable() })
type Record = z.infer<typeof recordSchema>

/**
 * Release 0: the units that served before the first release (`service.replaces`). The first activation stops them; when it
 * fails, or the deployment does, they are started again; else they no longer start with the machine, and their files stay. What was stopped is
 * remembered beside the releases, so that an agent that was killed in between still knows it.
 */
export class Replaced {
  readonly #path: string
  readonly #units: readonly string[]

  /** `directory`: the application's directory. */
  constructor(directory: string, units: readonly string[]) {
    this.#path = join(directory, '.dploy', 'replaced.json')
    this.#units = units
  }

  /** Whether a failure goes back to release 0: until a release has taken its place. */
  get isBefore(): boolean {
    return this.#units.length > 0 && (this.#read()?.served ?? null) === null
  }

  /** Stops those that run. */
  async stop(): Promise<string[]> {
    const active: string[] = []
    for (const unit of this.#units) if (await isActive(unit)) active.push(unit)
    if (active.length === 0) return []
    // Remembered first: who is killed after the stop starts them again all the same.
    this.#write({ stopped: [...new Set([...(this.#read()?.stopped ?? []), ...active])], served: null })
    await systemctl(active[0]!, 'stop', ...active)
    return active
  }

  /** Starts again what was stopped. */
  async start(): Promise<string[]> {
    const stopped = this.#read()?.stopped ?? []
    if (stopped.length === 0) return []
    await systemctl(stopped[0]!, 'enable', '--quiet', ...stopped).catch(() => {})
    await systemctl(stopped[0]!, 'start', ...stopped)
    this.#write({ stopped, served: null })
    return stopped
  }

  /** A release serves in their place: they no longer start with the machine. */
  async retire(release: number): Promise<string[]> {
    const record = this.#read()
    if (record === null || record.served !== null || record.stopped.length === 0) return []
    await systemctl(record.stopped[0]!, 'disable', '--quiet', ...record.stopped)
    this.#write({ ...record, served: release })
    return record.stopped
  }

  #read(): Record | null {
    if (!existsSync(this.#path)) return null
    try {
      return recordSchema.parse(JSON.parse(readFileSync(this.#path, 'utf8')))
    } catch (cause) {
      throw new DployError('internal', `${this.#path} cannot be read: ${reportOf(cause).message}`, { cause })
    }
  }

  #write(record: Record): void {
    mkdirSync(join(this.#path, '..'), { recursive: true })
    writeFileSync(`${this.#path}.new`, JSON.stringify(record), { mode: 0o600 })
    renameSync(`${this.#path}.new`, this.#path)
  }
}

async function isActive(unit: string): Promise<boolean> {
  const state = await systemctl(unit, 'show', '--property=ActiveState', '--value', unit)
  return ['active', 'activating', 'reloading'].includes(state.trim())
}
