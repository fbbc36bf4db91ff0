import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

export interface SocketsOptions {
  /** `ws://…`; only loopback, and the addresses of a fleet of one's own. */
  url: string
  /** How many are open at the same time. */
  count: number
}

/** The end of one WebSocket that was open. */
export interface SocketEnd {
  /** Epoch milliseconds. */
  at: number
  /** What the other end said (RFC 6455, 7.4): 1001 is "going away"; 1006 is nothing, it was cut. */
  code: number
  /** Who had answered on it. */
  server: string
}

export interface SeenSockets {
  opened: number
  /** Attempts that did not open. */
  refused: number
  /** Messages that were answered. */
  messages: number
  ends: SocketEnd[]
}

/** WebSockets that are held open, each with a message every 250 ms, and opened again when they end; in a thread of their own. */
export function startSockets(options: SocketsOptions): AsyncDisposable & { stop(): Promise<SeenSockets> } {
  const { hostname } = new URL(options.url)
  if (hostname !== 'localhost' && !hostname.startsWith('127.') && !hostname.startsWith('10.'))
    throw new Error(`No traffic is sent to ${hostname}`)
  const worker = new Worker(new URL('./sockets-worker.ts', import.meta.url), { workerData: options })
  const seen = once(worker, 'message').then(([value]) => value as SeenSockets)
  seen.catch(() => {})
  return {
    async stop() {
      worker.postMessage('stop')
      return seen
    },
    async [Symbol.asyncDispose]() {
      await worker.terminate()
    },
  }
}
