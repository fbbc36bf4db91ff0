import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { FastifyInstance } from 'fastify'
import { Histogram } from './exposition.ts'
import { ReceiptTotals } from './receipt-totals.ts'

/** What this process counts as it happens; it begins anew with the process, as counters of Prometheus may. */
export class Measured implements Disposable {
  /** Answered requests by method, route and status. */
  readonly requests = new Map<
    string,
    { labels: { method: string; route: string; status: string }; seconds: Histogram }
  >()
  /** Streams that are open. */
  streams = 0
  readonly receipts = new ReceiptTotals()
  readonly loop = monitorEventLoopDelay({ resolution: 20 })

  constructor() {
    this.loop.enable()
  }

  /** Counts what a server answers. Routes are named by their pattern, so that there are only so many. */
  watch(server: FastifyInstance): void {
    server.addHook('onResponse', async (request, reply) => {
      const labels = {
        method: request.method,
        route: request.routeOptions.url ?? 'none',
        status: String(reply.statusCode),
      }
      const key = Object.values(labels).join(' ')
      const found = this.requests.get(key) ?? { labels, seconds: new Histogram([0.005, 0.025, 0.1, 0.5, 2.5, 10]) }
      this.requests.set(key, found)
      found.seconds.observe(reply.elapsedTime / 1_000)
    })
  }

  [Symbol.dispose](): void {
    this.loop.disable()
  }
}
