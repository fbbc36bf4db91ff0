import { Agent, request } from 'undici'

export interface TrafficCount {
  sent: number
  failed: number
}

/**
 * The demo's users: `rate` requests a second through the balancer, half of them on new connections. Open loop: a slow
 * answer does not slow the next request.
 */
export function startUsers(url: string, rate: number): AsyncDisposable & { count: TrafficCount } {
  const count: TrafficCount = { sent: 0, failed: 0 }
  const kept = new Agent({ connections: 16, pipelining: 1 })
  const open = new Set<Promise<void>>()
  const ask = async (fresh: boolean) => {
    const dispatcher = fresh ? new Agent({ pipelining: 0, keepAliveTimeout: 1 }) : kept
    try {
      const { statusCode, body } = await request(url, { dispatcher, headersTimeout: 10_000, bodyTimeout: 10_000 })
      await body.dump()
      if (statusCode >= 500) count.failed++
    } catch {
      count.failed++
    } finally {
      if (fresh) await dispatcher.destroy()
    }
  }
  let last = performance.now()
  let due = 0
  const timer = setInterval(() => {
    const now = performance.now()
    // What a busy machine made late is sent now; not what a laptop slept through.
    due = Math.min(due + ((now - last) * rate) / 1000, rate)
    last = now
    for (; due >= 1; due--) {
      const asked = ask(count.sent++ % 2 === 0).finally(() => open.delete(asked))
      open.add(asked)
    }
  }, 1000 / rate)
  return {
    count,
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await Promise.allSettled(open)
      await kept.destroy()
    },
  }
}
