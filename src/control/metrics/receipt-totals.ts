import type { Figures } from '../store/figures.ts'

/** Receipts come right after the end they tell of; one that is this late is not counted. Milliseconds. */
const lateness = 600_000

interface Totals {
  application: string
  environment: string
  seen: number
  failed: number
  stalled: number
  bytes: number
  /** Seconds by phase. */
  phases: Map<string, number>
}

/** What all receipts add up to, by environment. Made of the records, so that a restart loses nothing; each receipt is read once. */
export class ReceiptTotals {
  readonly #totals = new Map<string, Totals>()
  readonly #counted = new Map<string, number>()
  #newest = 0

  /** Adds what ended since it was called last, and answers the totals. */
  async upTo(figures: Figures): Promise<readonly Totals[]> {
    for (const { id, application, environment, finishedAt, receipt } of await figures.receipts(
      this.#newest - lateness,
    )) {
      // Two readers at a time count it once.
      if (this.#counted.has(id)) continue
      this.#counted.set(id, finishedAt)
      this.#newest = Math.max(this.#newest, finishedAt)
      const key = JSON.stringify([application, environment])
      const totals = this.#totals.get(key) ?? {
        application,
        environment,
        seen: 0,
        failed: 0,
        stalled: 0,
        bytes: 0,
        phases: new Map<string, number>(),
      }
      this.#totals.set(key, totals)
      if (receipt.traffic.source === 'probe') {
        totals.seen += receipt.traffic.seen
        totals.failed += receipt.traffic.failed
        totals.stalled += receipt.traffic.stalled
      }
      totals.bytes += receipt.bytes
      for (const { name, start, end } of receipt.phases)
        totals.phases.set(name, (totals.phases.get(name) ?? 0) + (end - start) / 1_000)
    }
    for (const [id, finishedAt] of this.#counted) if (finishedAt < this.#newest - 2 * lateness) this.#counted.delete(id)
    return [...this.#totals.values()]
  }
}
