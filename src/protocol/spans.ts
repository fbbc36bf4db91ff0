import type { Span } from './agent-messages.ts'

/**
 * What was done at each time: spans that lie inside one another are cut so that the innermost (the one that began last,
 * of those the one that ends first) stands for its time. In order, without overlap, empty ones left out.
 */
export function innermost(spans: readonly Span[]): Span[] {
  const whole = spans.filter((span) => span.end > span.start).sort((a, b) => b.start - a.start || a.end - b.end)
  const edges = [...new Set(whole.flatMap((span) => [span.start, span.end]))].sort((a, b) => a - b)
  const pieces: Span[] = []
  let before: Span | null = null
  for (const [index, start] of edges.entries()) {
    const end = edges[index + 1]
    const inner = end === undefined ? undefined : whole.find((span) => span.start <= start && span.end >= end)
    const last = pieces.at(-1)
    if (end !== undefined && inner) {
      if (last && inner === before && last.end === start) last.end = end
      else pieces.push({ name: inner.name, start, end })
    }
    before = inner ?? null
  }
  return pieces
}

/** The parts of the spans between two times. */
export function clip(spans: readonly Span[], start: number, end: number): Span[] {
  return spans
    .filter((span) => span.start < end && span.end > start)
    .map((span) => ({ name: span.name, start: Math.max(span.start, start), end: Math.min(span.end, end) }))
}
