import { createHash } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'

const schema = z.object({ tree: z.string().regex(/^[0-9a-f]{40,64}$/), artifact: z.string().regex(/^[0-9a-f]{64}$/) })

/** The tree that was shipped last by the same definition, and its artifact: the next one differs little from it. */
export class LastTree {
  readonly #path: string

  /** `definition`: all that decides which files of a tree are shipped. */
  constructor(data: string, definition: unknown[]) {
    this.#path = join(
      data,
      'artifacts',
      `last-${createHash('sha256').update(JSON.stringify(definition)).digest('hex').slice(0, 32)}.json`,
    )
  }

  /** Null when there is none that can be read. */
  read(): z.infer<typeof schema> | null {
    try {
      return schema.parse(JSON.parse(readFileSync(this.#path, 'utf8')))
    } catch {
      return null
    }
  }

  write(last: z.infer<typeof schema>): void {
    const temporary = `${this.#path}.${process.pid}`
    writeFileSync(temporary, JSON.stringify(last))
    renameSync(temporary, this.#path)
  }
}
