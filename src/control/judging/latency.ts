/** Answer times in milliseconds, in any order. */
type Times = readonly number[]

export interface RankTest {
  /** Mann and Whitney's U of the first sample. */
  u: number
  /** P(a > b) + P(a = b) / 2, as the samples say: 0.5 where they are alike. */
  probability: number
  /** The chance of a U this large if both came from the same distribution. One-sided. */
  p: number
}

/**
 * Whether values of `a` tend to be larger than those of `b` (Mann and Whitney 1947, "On a test of whether one of two random
 * variables is stochastically larger than the other"), by the normal approximation with the correction for ties (Lehmann
 * 1975, "Nonparametrics", 1.4) and for continuity. Good from some 20 values each. An empty sample says nothing: p = 1.
 */
export function mannWhitney(a: Times, b: Times): RankTest {
  const [n, m] = [a.length, b.length]
  if (n === 0 || m === 0) return { u: 0, probability: 0.5, p: 1 }
  const all = [...a.map((value) => ({ value, own: true })), ...b.map((value) => ({ value, own: false }))].sort(
    (x, y) => x.value - y.value,
  )
  let rankSum = 0
  let ties = 0
  for (let start = 0; start < all.length;) {
    let end = start
    while (end < all.length && all[end]!.value === all[start]!.value) end++
    // Equal values share the mean of their ranks.
    const rank = (start + 1 + end) / 2
    for (let index = start; index < end; index++) if (all[index]!.own) rankSum += rank
    ties += (end - start) ** 3 - (end - start)
    start = end
  }
  const u = rankSum - (n * (n + 1)) / 2
  const total = n + m
  const variance = ((n * m) / 12) * (total + 1 - ties / (total * (total - 1)))
  const z = variance > 0 ? (u - (n * m) / 2 - 0.5) / Math.sqrt(variance) : 0
  return { u, probability: u / (n * m), p: variance > 0 ? normalTail(z) : 1 }
}

/**
 * Whether more of `a` than of `b` lies above the value that `share` of both together lies below: a slow tail, which ranks
 * hardly show. Two shares compared by the normal approximation (Brown and Mood 1951, for another share than half). One-sided.
 */
export function tailTest(a: Times, b: Times, share: number): { p: number; above: [number, number] } {
  const [n, m] = [a.length, b.length]
  if (n === 0 || m === 0) return { p: 1, above: [0, 0] }
  const limit = quantile([...a, ...b], share)
  const [x, y] = [a, b].map((times) => times.filter((time) => time > limit).length) as [number, number]
  const pooled = (x + y) / (n + m)
  const variance = pooled * (1 - pooled) * (1 / n + 1 / m)
  // Yates' correction: the counts are whole.
  const difference = x / n - y / m - (1 / n + 1 / m) / 2
  return { p: variance > 0 && difference > 0 ? normalTail(difference / Math.sqrt(variance)) : 1, above: [x / n, y / m] }
}

/** The value that this share of the times does not exceed (nearest rank); 0 of none. */
export function quantile(times: Times, share: number): number {
  const sorted = times.toSorted((x, y) => x - y)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0
}

/**
 * P(Z > z) of the standard normal distribution: Abramowitz and Stegun 26.2.17 in erfc's form by W. J. Cody's neighbour,
 * Numerical Recipes 6.2 (`erfcc`); relative error below 1.2e-7 everywhere.
 */
export function normalTail(z: number): number {
  const x = Math.abs(z) / Math.SQRT2
  const t = 1 / (1 + x / 2)
  const coefficients = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
    0.17087277,
  ]
  const exponent = coefficients.reduceRight((sum, coefficient) => sum * t + coefficient, 0) - x * x
  const erfc = t * Math.exp(exponent)
  return z >= 0 ? erfc / 2 : 1 - erfc / 2
}
