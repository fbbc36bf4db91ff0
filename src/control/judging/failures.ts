/** What new and old servers answered within the same span of time. */
export interface Interval {
  newRequests: number
  newFailed: number
  oldRequests: number
  oldFailed: number
}

/**
 * How many times worse the new release may be, each with the same weight before anything was seen. Between them the
 * evidence changes little; far beyond them a few failures are enough anyway.
 */
const ratios = [1.5, 2, 3, 5, 10, 30, 100]

/**
 * Whether the new release fails more often than the old one, judged again and again while answers come in.
 *
 * Of all failures of an interval, each is one of the new release's with probability p0 = m / (m + n) if both fail alike (m, n:
 * requests to new and old), and p(r) = r·m / (r·m + n) if the new one fails r times as often. The evidence is the mean over
 * several r > 1 of the likelihood ratios
 *
 *     E = mean over r of  ∏ (p(r) / p0)^(failed new) · ((1 − p(r)) / (1 − p0))^(failed old)
 *
 * which, while the new release is not worse, is a non-negative supermartingale that begins at 1; so the chance that it
 * ever reaches 1/α is at most α, however often one looks (Ville 1939; the mixture: Robbins 1970, "Statistical methods
 * related to the law of the iterated logarithm"; for counts: Lindon and Malek 2022, "Anytime-valid inference for
 * multinomial count data"). What users do, and how often both fail, may change over time: only the shares count.
 */
export class FailureEvidence {
  /** Logarithm of the likelihood ratio for each of `ratios`. */
  readonly #logs = ratios.map(() => 0)

  /** Adds an interval. One in which either release had no request says nothing. */
  add(interval: Interval): void {
    const { newRequests: m, oldRequests: n } = interval
    if (m <= 0 || n <= 0) return
    const p0 = m / (m + n)
    for (const [index, ratio] of ratios.entries()) {
      const p = (ratio * m) / (ratio * m + n)
      this.#logs[index]! += interval.newFailed * Math.log(p / p0) + interval.oldFailed * Math.log((1 - p) / (1 - p0))
    }
  }

  /** E: 1 before anything was seen; 100 would come up by chance once in a hundred deployments at most. */
  get value(): number {
    const most = Math.max(...this.#logs)
    return Math.exp(most) * (this.#logs.reduce((sum, log) => sum + Math.exp(log - most), 0) / ratios.length)
  }
}
