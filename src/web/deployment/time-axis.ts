/** The one time axis of a deployment's page: traffic, servers and log share it, and the cursor on it. Milliseconds after the begin. */

const rounds = [1, 1.5, 2, 3, 4, 5, 6, 8, 10]

/** The axis' end while time goes on: rounded up, so that it jumps seldom and not with every frame. */
export function axisEnd(elapsed: number, over: boolean): number {
  if (over) return Math.max(elapsed, 200)
  const wanted = Math.max(2_000, elapsed * 1.05)
  const size = 10 ** Math.floor(Math.log10(wanted))
  return size * rounds.find((round) => size * round >= wanted)!
}

const tickSizes = [
  50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000,
  3_600_000,
]

export function ticksOf(end: number, most: number): number[] {
  const size = tickSizes.find((one) => end / one <= most) ?? 3_600_000
  return Array.from({ length: Math.floor(end / size) + 1 }, (_, index) => index * size)
}

export function tickText(ms: number): string {
  if (ms === 0) return '0'
  if (ms < 60_000) return `${Number((ms / 1_000).toFixed(2))} s`
  const seconds = Math.round((ms % 60_000) / 1_000)
  return `${Math.floor(ms / 60_000)} min${seconds === 0 ? '' : ` ${seconds} s`}`
}

/** Where the pointer, or the line of the log that it is on, stands on the axis. */
export class Cursor {
  at: number | null = null
  readonly #watchers = new Set<(at: number | null) => void>()

  set(at: number | null): void {
    if (at === this.at) return
    this.at = at
    for (const watch of this.#watchers) watch(at)
  }

  watch(watch: (at: number | null) => void): () => void {
    this.#watchers.add(watch)
    return () => this.#watchers.delete(watch)
  }
}
