import { enoughAnswers, served, usualOf, verdictOf, type Sample, type Usual } from './sample.ts'

/** What has been seen so far, for the live view; the receipt judges again when everything is known. */
export interface LiveCounts {
  seen: number
  failed: number
  stalled: number
  slowestMs: number
}

/** From so many samples on, what is usual stays as it is: what comes later may already be the deployment's doing. */
const settled = 100

/** Counts samples as they come, by the receipt's definitions, with what was usual at the beginning. */
export class LiveTraffic {
  readonly #first: boolean
  #beginning: Sample[] = []
  #usual: Usual | null = null
  #counts: LiveCounts = { seen: 0, failed: 0, stalled: 0, slowestMs: 0 }

  /** `first`: nothing served before, so that nothing counts until the first good answer. */
  constructor(first: boolean) {
    this.#first = first
  }

  get counts(): LiveCounts {
    return this.#counts
  }

  add(samples: readonly Sample[]): void {
    if (this.#usual !== null) return this.#count(samples, this.#usual)
    this.#beginning = [...(this.#first ? served([...this.#beginning, ...samples]) : [...this.#beginning, ...samples])]
    const usual = usualOf(this.#beginning)
    this.#counts = { seen: 0, failed: 0, stalled: 0, slowestMs: 0 }
    this.#count(this.#beginning, this.#beginning.length < enoughAnswers ? { ...usual, ms: null, post: null } : usual)
    if (this.#beginning.length < settled) return
    this.#usual = usual
    this.#beginning = []
  }

  #count(samples: readonly Sample[], usual: Usual): void {
    const counts = { ...this.#counts }
    for (const sample of samples) {
      const verdict = verdictOf(sample, usual)
      counts.seen += 1
      if (verdict !== 'good') counts[verdict] += 1
      counts.slowestMs = Math.max(counts.slowestMs, Math.round(sample.ms))
    }
    this.#counts = counts
  }
}
