/** A request of the probe and what became of it. */
export interface Sample {
  /** When it was sent, epoch milliseconds. */
  at: number
  /** Until its answer was complete, or until it failed. */
  ms: number
  /** Null if there was no complete answer. */
  status: number | null
  /** Null if there was one. */
  error: string | null
  /** GET unless told. */
  method?: 'GET' | 'POST'
  /** Whether the connection had been used before; fresh unless told. */
  connection?: 'kept' | 'fresh'
  /** The port of this end of the connection; left out where none was made. */
  port?: number
  /** What the answer says of who gave it; left out if nothing. */
  servedBy?: string
}

export type Verdict = 'good' | 'failed' | 'stalled'

/** What the address answers when nothing is wrong. */
export interface Usual {
  /** Median of the good answers; null while there are none. */
  ms: number | null
  /** It usually answers 400 to 499, so that such an answer is no failure. */
  refuses: boolean
  /** The same of POST, where it was asked; the above is then of GET. */
  post: Usual | null
}

/** How much longer than usual an answer takes that a user notices. Milliseconds. */
export const stallMs = 250
/** So many answers are needed to know what is usual. */
export const enoughAnswers = 10

/** What is usual among samples. `refuses`: what is known of it from elsewhere. */
export function usualOf(samples: readonly Sample[], refuses?: boolean): Usual {
  const posts = samples.filter((sample) => sample.method === 'POST')
  if (posts.length === 0 || posts.length === samples.length) return usualOfOne(samples, refuses)
  return {
    ...usualOfOne(
      samples.filter((sample) => sample.method !== 'POST'),
      refuses,
    ),
    post: usualOfOne(posts),
  }
}

function usualOfOne(samples: readonly Sample[], known?: boolean): Usual {
  const answers = samples.filter((sample) => sample.status !== null && sample.status < 500)
  const refuses = known ?? answers.filter((sample) => sample.status! >= 400).length * 2 > answers.length
  const times = answers.filter((sample) => refuses || sample.status! < 400).map((sample) => sample.ms)
  return { ms: times.length === 0 ? null : quantile(times, 0.5), refuses, post: null }
}

/** Whether a user would have noticed; the definition is that of the receipt's traffic. */
export function verdictOf(sample: Sample, all: Usual): Verdict {
  const usual = sample.method === 'POST' ? (all.post ?? all) : all
  if (sample.status === null || sample.status >= 500) return 'failed'
  if (sample.status >= 400 && !usual.refuses) return 'failed'
  return usual.ms !== null && sample.ms >= usual.ms + stallMs ? 'stalled' : 'good'
}

/**
 * Where nothing served before: the samples from the first good answer on. Before it arrived there was nobody to notice,
 * even if a balancer kept some request waiting until there was.
 */
export function served(samples: readonly Sample[]): readonly Sample[] {
  const good = samples.filter((sample) => sample.status !== null && sample.status < 400)
  if (good.length === 0) return []
  const first = good.reduce((earliest, sample) =>
    sample.at + sample.ms < earliest.at + earliest.ms ? sample : earliest,
  )
  const arrival = first.at + first.ms
  return samples.filter((sample) => sample === first || sample.at >= arrival)
}

/** The smallest value that at least the share `q` of the values does not exceed. NaN of nothing. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.max(0, Math.ceil(sorted.length * q) - 1)] ?? Number.NaN
}
