import { DployError } from './errors.ts'

const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const

/** Milliseconds of `250ms`, `10s`, `5m`, `1h`, `1.5s`, or of a bare number, which is seconds. Throws `request.invalid`. */
export function parseDuration(text: string | number): number {
  if (typeof text === 'number') return Math.round(text * 1000)
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)$/.exec(text.trim())
  if (!match) throw new DployError('request.invalid', `"${text}" is not a duration; write for example 250ms, 10s, 5m`)
  return Math.round(Number(match[1]) * units[match[2] as keyof typeof units])
}

/** A duration for people: `84 ms`, `2.1 s`, `3 min 20 s`. Input in milliseconds. */
export function formatDuration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`
  if (ms < 99_950) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}
