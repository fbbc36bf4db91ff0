import type { Kysely, Transaction } from 'kysely'
import type { Tables } from './schema.ts'

/** How many are written in one transaction: what else the process has to do comes between two. */
const atOnce = 250

/**
 * Small writes of the same moment in one transaction: each of its own would cost a flush of the disk, and agents come and
 * go together. Each succeeds or fails for itself.
 */
export class Together {
  readonly #db: Kysely<Tables>
  #waiting: { work: (trx: Transaction<Tables>) => Promise<unknown>; done: PromiseWithResolvers<void> }[] = []
  /** The writing of those that wait; of those before too. */
  #soon: Promise<void> | null = null
  #written: Promise<unknown> = Promise.resolve()

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** Resolves once it is stored. */
  write(work: (trx: Transaction<Tables>) => Promise<unknown>): Promise<void> {
    const done = Promise.withResolvers<void>()
    this.#waiting.push({ work, done })
    if (!this.#soon) {
      this.#soon = this.#writeSoon()
      this.#written = Promise.allSettled([this.#written, this.#soon])
    }
    return done.promise
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
      const some = works.slice(start, start + atOnce)
      try {
        await this.#db.transaction().execute(async (trx) => {
          for (const { work } of some) await work(trx)
        })
        for (const { done } of some) done.resolve()
      } catch {
        // One of them cannot be stored, and the others are not to blame.
        for (const { work, done } of some)
          await this.#db
            .transaction()
            .execute(work)
            .then(() => done.resolve(), done.reject)
      }
    }
  }
}
