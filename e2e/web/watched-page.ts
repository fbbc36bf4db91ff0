import type { CDPSession, Page } from 'playwright-core'

/** What a page's frames were like while it was watched. */
export interface Frames {
  seconds: number
  /** Frames in each whole second. */
  perSecond: number[]
  /** Between one frame and the next. Milliseconds. */
  median: number
  p95: number
  longest: number
  /** The page's own work on its main thread: scripts, style, layout, paint. Milliseconds for each frame. */
  workPerFrame: number
}

/**
 * Watches a page of a deployment from outside: when it draws frames (requestAnimationFrame), how late events come to it (`dploy event`, measured
 * by the page from the time at which the control plane stored them), what its main thread does, and how much memory it holds.
 */
export class WatchedPage {
  readonly #page: Page
  readonly #devTools: CDPSession
  #work = 0

  private constructor(page: Page, devTools: CDPSession) {
    this.#page = page
    this.#devTools = devTools
  }

  static async of(page: Page): Promise<WatchedPage> {
    const devTools = await page.context().newCDPSession(page)
    await devTools.send('Performance.enable', { timeDomain: 'timeTicks' })
    await devTools.send('HeapProfiler.enable')
    return new WatchedPage(page, devTools)
  }

  /** Begins to count, and forgets what was counted before. The page has to be loaded. */
  async begin(): Promise<void> {
    await this.#page.evaluate(begin)
    this.#work = await this.#taskSeconds()
  }

  async frames(): Promise<Frames> {
    const work = (await this.#taskSeconds()) - this.#work
    const at = (await this.#page.evaluate('globalThis.watched.frames')) as number[]
    const between = at.slice(1).map((time, index) => time - at[index]!)
    const seconds = Math.floor((at.at(-1)! - at[0]!) / 1_000)
    const perSecond = Array.from(
      { length: seconds },
      (_, second) =>
        at.filter((time) => time >= at[0]! + second * 1_000 && time < at[0]! + (second + 1) * 1_000).length,
    )
    return {
      seconds,
      perSecond,
      median: quantile(between, 0.5),
      p95: quantile(between, 0.95),
      longest: Math.max(...between),
      workPerFrame: (work * 1_000) / between.length,
    }
  }

  /** How long after it was stored each event was taken in by the page. Milliseconds. */
  async late(): Promise<number[]> {
    return (await this.#page.evaluate('globalThis.watched.lags')) as number[]
  }

  /** What scripts of the page hold once everything that nobody holds was given back. Bytes. */
  async heap(): Promise<number> {
    await this.#devTools.send('HeapProfiler.collectGarbage')
    const { usedSize } = await this.#devTools.send('Runtime.getHeapUsage')
    return usedSize
  }

  /** Elements in the page. */
  async nodes(): Promise<number> {
    return (await this.#page.evaluate('document.querySelectorAll("*").length')) as number
  }

  async #taskSeconds(): Promise<number> {
    const { metrics } = await this.#devTools.send('Performance.getMetrics')
    return metrics.find(({ name }) => name === 'TaskDuration')!.value
  }
}

/** Runs in the page. Numbers are kept in arrays of their own type, so that watching takes little of what is watched. */
const begin = `(() => {
  globalThis.watched?.stop()
  const watched = { frames: [], lags: [], on: true, stop() { this.on = false; observer.disconnect() } }
  const frame = (at) => { if (!watched.on) return; watched.frames.push(at); requestAnimationFrame(frame) }
  requestAnimationFrame(frame)
  const observer = new PerformanceObserver((list) => { for (const entry of list.getEntriesByName('dploy event')) watched.lags.push(entry.duration) })
  observer.observe({ type: 'measure' })
  globalThis.watched = watched
})()`

export function quantile(values: readonly number[], share: number): number {
  if (values.length === 0) return 0
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!
}
