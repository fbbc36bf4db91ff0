import { now as serverNow } from '../api/clock.ts'
import { useEffect, useState, useSyncExternalStore } from 'react'

/** The time now, again every `every` milliseconds. One clock for all who ask for the same. */
export function useNow(every = 1_000): number {
  const [clock] = useState(() => clockOf(every))
  return useSyncExternalStore(clock.subscribe, clock.now)
}

interface Clock {
  subscribe(watch: () => void): () => void
  now(): number
}
const clocks = new Map<number, Clock>()

function clockOf(every: number): Clock {
  const known = clocks.get(every)
  if (known) return known
  const watchers = new Set<() => void>()
  let now = serverNow()
  let timer: ReturnType<typeof setInterval> | null = null
  const clock: Clock = {
    subscribe(watch) {
      watchers.add(watch)
      timer ??= setInterval(() => {
        now = serverNow()
        for (const one of watchers) one()
      }, every)
      return () => {
        watchers.delete(watch)
        if (watchers.size > 0 || timer === null) return
        clearInterval(timer)
        timer = null
      }
    },
    now: () => now,
  }
  clocks.set(every, clock)
  return clock
}

const steps: readonly [limit: number, size: number, unit: string][] = [
  [60_000, 1_000, 's'],
  [3_600_000, 60_000, 'min'],
  [86_400_000, 3_600_000, 'h'],
  [Infinity, 86_400_000, 'd'],
]

/** `2 h ago`. */
export function ago(at: number, now: number): string {
  const ms = Math.max(0, now - at)
  if (ms < 5_000) return 'just now'
  const [, size, unit] = steps.find(([limit]) => ms < limit)!
  return `${Math.floor(ms / size)} ${unit} ago`
}

/** Relative, and exact on hover. */
export function Ago({ at }: { at: number }) {
  const now = useNow(5_000)
  return (
    <time className="nowrap" dateTime={new Date(at).toISOString()} title={new Date(at).toLocaleString()}>
      {ago(at, Math.max(now, at))}
    </time>
  )
}

/** `2.1 s`, `340 ms`, `1 min 12 s`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1_000)} s`
}

/** How long something has been going on; counts on while `end` is null. */
export function Elapsed({ begin, end }: { begin: number; end: number | null }) {
  return end === null ? <Running begin={begin} /> : <span className="number">{duration(end - begin)}</span>
}

function Running({ begin }: { begin: number }) {
  const now = useNow(100)
  return <span className="number">{duration(Math.max(0, now - begin))}</span>
}

/** True once `ms` have passed: so that a page that answers at once shows no skeleton for a moment. */
export function useAfter(ms: number): boolean {
  const [passed, setPassed] = useState(false)
  useEffect(() => {
    const timer = setTimeout(() => setPassed(true), ms)
    return () => clearTimeout(timer)
  }, [ms])
  return passed
}
