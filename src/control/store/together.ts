import type { Kysely, Transaction } from 'kysely'
import type { Tables } from './schema.ts'

/** How many are written in one transaction: what else the process has to do comes between two. */
const atOnce = 250

/**
 * Small writes of the same moment in one transaction: each of its own would cost a flush of the disk, and agents come and
 * go together. One fails with all of its transaction.
 */
export class Together {
  readonly #db: Kysely<Tables>
  #waiting: ((trx: Transaction<Tables>) => Promise<unknown>)[] = []
  /** The writing of those that wait. */
  #soon: Promise<void> | null = null
  #written: Promise<unknown> = Promise.resolve()

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** Resolves once it is stored. */
  write(work: (trx: Transaction<Tables>) => Promise<unknown>): Promise<void> {
    this.#waiting.push(work)
    this.#soon ??= this.#writeSoon()
    this.#written = Promise.allSettled([this.#written, this.#soon])
    return this.#soon
  }

  /** Resolves once all is stored that was written until now. */
  async settled(): Promise<void> {
    await this.#written
  }

  async #writeSoon(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    const works = this.#waiting
    this.#waiting = []
    this.#soon = null
    for (let start = 0; start < works.length; start += atOnce) {
      await this.#db.transaction().execute(async (trx) => {
        for (const work of works.slice(start, start + atOnce)) await work(trx)
      })
    }
  }
}
