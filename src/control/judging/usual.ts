/**
 * An upper bound of a share that was seen `failed` times in `requests`: with chance `alpha` at most the true share lies above
 * it. The largest p with n · KL(x/n ‖ p) ≤ ln(1/α) (Chernoff's bound; Hoeffding 1963, theorem 1). 1 without any request.
 */
export function highestShare(counted: { requests: number; failed: number }, alpha: number): number {
  const { requests: n } = counted
  if (n <= 0) return 1
  const share = Math.min(1, counted.failed / n)
  const room = Math.log(1 / alpha) / n
  let [low, high] = [share, 1]
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2
    if (divergence(share, middle) <= room) low = middle
    else high = middle
  }
  return high
}

/** KL(q ‖ p) of two coins. */
function divergence(q: number, p: number): number {
  const one = q === 0 ? 0 : q * Math.log(q / p)
  const other = q === 1 ? 0 : (1 - q) * Math.log((1 - q) / (1 - p))
  return one + other
}

/** How many times worse the new release may be, each with the same weight before anything was seen. */
const ratios = [2, 3, 5, 10, 30, 100]

/**
 * Whether the new release fails more often than `usual`, the highest share that the time before lets one believe in, where
 * no server with the old release answers any more at the same time. The evidence is the mean over several r > 1 of
 *
 *     ∏ (r·p)^failed · (1 − r·p)^good / (p^failed · (1 − p)^good)        p: usual
 *
 * a non-negative supermartingale that begins at 1 while the true share is at most p; so the chance that it ever reaches 1/α is
 * at most α (Ville 1939; the mixture: Robbins 1970).
 */
export class ShareEvidence {
  readonly #usual: number
  readonly #ratios: readonly number[]
  readonly #logs: number[]

  constructor(usual: number) {
    this.#usual = Math.max(usual, 1e-6)
    this.#ratios = ratios.filter((ratio) => ratio * this.#usual < 1)
    this.#logs = this.#ratios.map(() => 0)
  }

  add({ requests, failed }: { requests: number; failed: number }): void {
    const good = Math.max(0, requests - failed)
    for (const [index, ratio] of this.#ratios.entries()) {
      const p = ratio * this.#usual
      this.#logs[index]! += failed * Math.log(ratio) + good * Math.log((1 - p) / (1 - this.#usual))
    }
  }

  /** 1 before anything was seen, and where the usual share is so high that nothing is twice as bad. */
  get value(): number {
    if (this.#logs.length === 0) return 1
    const most = Math.max(...this.#logs)
    return Math.exp(most) * (this.#logs.reduce((sum, log) => sum + Math.exp(log - most), 0) / this.#logs.length)
  }
}
