import { styleText } from 'node:util'
import type { Span } from './agent-messages.ts'
import { spanKind } from './receipt.ts'
import { innermost } from './spans.ts'

/** What a server did over the time of a deployment, drawn with one character a step. Pure. */

export type StepGroup = 'stage' | 'command' | 'drain' | 'switch' | 'boot' | 'register'

const glyphs = {
  stage: { glyph: '░', style: 'blue', label: 'stage' },
  command: { glyph: '▚', style: 'white', label: 'hooks' },
  drain: { glyph: '▒', style: 'yellow', label: 'drain' },
  switch: { glyph: '▓', style: 'magenta', label: 'switch' },
  boot: { glyph: '█', style: 'green', label: 'boot' },
  register: { glyph: '▄', style: 'cyan', label: 'register' },
} as const satisfies Record<StepGroup, { glyph: string; style: Parameters<typeof styleText>[0]; label: string }>

/** `width` columns for the time from 0 to `total` milliseconds. A step shorter than a column still shows where nothing else does. */
export function waterfall(spans: readonly Span[], total: number, width: number, color: boolean): string {
  const pieces = innermost(spans)
  const cells = Array.from({ length: Math.max(0, width) }, (_, index) =>
    groupAt(pieces, (total * index) / width, (total * (index + 1)) / width),
  )
  let text = ''
  for (let start = 0; start < cells.length;) {
    const group = cells[start]!
    let end = start + 1
    while (end < cells.length && cells[end] === group) end++
    text +=
      group === null
        ? ' '.repeat(end - start)
        : painted(glyphs[group].glyph.repeat(end - start), glyphs[group].style, color)
    start = end
  }
  return text
}

/** What the characters mean, for those steps that are there. */
export function waterfallLegend(spans: readonly Span[], color: boolean): string[] {
  const used = new Set(spans.map((span) => groupOf(span.name)))
  return (Object.keys(glyphs) as StepGroup[])
    .filter((group) => used.has(group))
    .map((group) => `${painted(glyphs[group].glyph, glyphs[group].style, color)} ${glyphs[group].label}`)
}

function groupAt(pieces: readonly Span[], start: number, end: number): StepGroup | null {
  const times = new Map<StepGroup, number>()
  for (const piece of pieces) {
    const time = Math.min(piece.end, end) - Math.max(piece.start, start)
    if (time <= 0) continue
    const group = groupOf(piece.name)
    times.set(group, (times.get(group) ?? 0) + time)
  }
  let most: StepGroup | null = null
  for (const [group, time] of times) if (most === null || time > times.get(most)!) most = group
  return most
}

/** What a span of this name is on the time axis. */
export function groupOf(name: string): StepGroup {
  const kind = spanKind(name)
  if (kind === 'command') return 'command'
  if (kind === 'boot' || kind === 'health' || kind === 'bake') return 'boot'
  if (kind === 'in_flight' || name === 'drain') return 'drain'
  if (name === 'register') return 'register'
  return kind === 'switch' || name === 'activate' || name.startsWith('activate.') || name === 'revert'
    ? 'switch'
    : 'stage'
}

function painted(text: string, style: Parameters<typeof styleText>[0], color: boolean): string {
  return color ? styleText(style, text, { validateStream: false }) : text
}
