/** Whether the control plane answers, for the banner and for what waits to go on. Epoch milliseconds; null: it answers. */
let lostSince: number | null = null
let timer: ReturnType<typeof setInterval> | null = null
const watchers = new Set<() => void>()

/** How often a control plane that went away is asked for. Milliseconds. */
const askEvery = 1_000

function set(value: number | null): void {
  if (lostSince === value) return
  lostSince = value
  for (const watch of watchers) watch()
}

export const connection = {
  get lostSince(): number | null {
    return lostSince
  },
  found(): void {
    if (timer !== null) clearInterval(timer)
    timer = null
    set(null)
  },
  lost(): void {
    if (lostSince !== null) return
    set(Date.now())
    timer ??= setInterval(() => void ask(), askEvery)
  },
  subscribe(watch: () => void): () => void {
    watchers.add(watch)
    return () => watchers.delete(watch)
  },
}

async function ask(): Promise<void> {
  const response = await fetch('/healthz', { cache: 'no-store' }).catch(() => null)
  if (response?.ok) connection.found()
}
