import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'

const runSchema = z.object({
  release: z.number(),
  /** Where its instances listen. */
  ports: z.array(z.number()),
  /** Epoch milliseconds from when on it is ended; null: it serves. */
  until: z.number().nullable(),
  /** Only to prove that the release runs: nobody is sent to it. */
  trial: z.boolean().optional(),
})

const stateSchema = z.object({
  handover: z.enum(['socket', 'port']),
  /** Where users, or the balancer, ask. */
  port: z.number(),
  /** Whether this server redirects that port to the release's own. */
  redirects: z.boolean(),
  /** Name of the run that serves. */
  serving: z.string().nullable(),
  runs: z.record(z.string(), runSchema),
})
export type HandoverState = z.infer<typeof stateSchema>
export type RunState = z.infer<typeof runSchema>

/** What is known of releases beside each other, across the agent's own death. */
export class StateFile {
  readonly #path: string

  constructor(stateDirectory: string) {
    this.#path = join(stateDirectory, 'handover.json')
  }

  /** Null: the service's releases are not beside each other. */
  read(): HandoverState | null {
    try {
      return stateSchema.nullable().parse(JSON.parse(readFileSync(this.#path, 'utf8')))
    } catch {
      return null
    }
  }

  write(state: HandoverState | null): void {
    writeFileSync(`${this.#path}.new`, JSON.stringify(state), { mode: 0o600 })
    renameSync(`${this.#path}.new`, this.#path)
  }
}
