/** Prometheus' text format (prometheus.io/docs/instrumenting/exposition_formats), as much of it as dploy shows. */

export type Labels = Readonly<Record<string, string>>

/** Counts of how long something took, in cumulative buckets. Bounds and sums are seconds. */
export class Histogram {
  readonly bounds: readonly number[]
  readonly counts: number[]
  sum = 0
  count = 0

  constructor(bounds: readonly number[]) {
    this.bounds = bounds
    this.counts = bounds.map(() => 0)
  }

  /** `seconds` below zero, as a clock that was set back makes them, count as zero. */
  observe(seconds: number): void {
    const value = Math.max(0, seconds)
    this.sum += value
    this.count++
    for (const [index, bound] of this.bounds.entries()) if (value <= bound) this.counts[index]!++
  }
}

/** Collects samples and makes the text. A name is described once, before its samples, which have to come together. */
export class Exposition {
  readonly #lines: string[] = []

  counter(name: string, help: string, samples: Iterable<readonly [Labels, number]>): this {
    return this.#family(name, help, 'counter', samples)
  }

  gauge(name: string, help: string, samples: Iterable<readonly [Labels, number]>): this {
    return this.#family(name, help, 'gauge', samples)
  }

  histogram(name: string, help: string, samples: Iterable<readonly [Labels, Histogram]>): this {
    this.#describe(name, help, 'histogram')
    for (const [labels, { bounds, counts, sum, count }] of samples) {
      for (const [index, bound] of bounds.entries())
        this.#sample(`${name}_bucket`, { ...labels, le: String(bound) }, counts[index]!)
      this.#sample(`${name}_bucket`, { ...labels, le: '+Inf' }, count)
      this.#sample(`${name}_sum`, labels, sum)
      this.#sample(`${name}_count`, labels, count)
    }
    return this
  }

  get text(): string {
    return `${this.#lines.join('\n')}\n`
  }

  #family(name: string, help: string, type: string, samples: Iterable<readonly [Labels, number]>): this {
    this.#describe(name, help, type)
    for (const [labels, value] of samples) this.#sample(name, labels, value)
    return this
  }

  #describe(name: string, help: string, type: string): void {
    this.#lines.push(
      `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`,
      `# TYPE ${name} ${type}`,
    )
  }

  #sample(name: string, labels: Labels, value: number): void {
    const pairs = Object.entries(labels).map(
      ([key, text]) => `${key}="${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`,
    )
    this.#lines.push(`${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}`)
  }
}
