import { setTimeout as delay } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { maxBodyBytes, maxHeadBytes } from '../protocol/frame.ts'
import type { Carrier } from '../protocol/peer.ts'
import { socketCarrier } from '../protocol/socket-carrier.ts'
import { connectThrough } from './proxy.ts'

/** Between attempts to connect: the first, and the longest that it grows to. Milliseconds. */
const firstDelay = 200
const longestDelay = 4_000
/** A connection that lasted this long starts the delays anew. Milliseconds. */
const lasted = 1_000

/**
 * Keeps a connection to the control plane until the signal aborts: dials, hands the open carrier to `serve`, waits for
 * its end, dials again. Delays grow with each failure, with full jitter, so that many agents do not come back at once
 * (AWS Architecture Blog, "Exponential Backoff And Jitter").
 */
export async function keepConnected(options: {
  control: string
  proxy: string | null
  signal: AbortSignal
  serve: (carrier: Carrier) => Promise<string>
  log: (text: string) => void
}): Promise<void> {
  const address = new URL('/agents/connect', options.control)
  const { proxy } = options
  address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:'
  let failures = 0
  while (!options.signal.aborted) {
    const began = performance.now()
    try {
      const carrier = await dial(address, proxy, options.signal)
      options.log(`connected to ${address.host}`)
      const reason = await options.serve(carrier)
      options.log(`connection ended: ${reason}`)
    } catch (error) {
      if (options.signal.aborted) return
      if (failures < 3 || failures % 20 === 0)
        options.log(`cannot connect to ${address.host}: ${(error as Error).message}`)
    }
    failures = performance.now() - began > lasted ? 0 : failures + 1
    const limit = Math.min(longestDelay, firstDelay * 2 ** Math.min(failures, 10))
    await delay(50 + Math.random() * limit, undefined, { signal: options.signal }).catch(() => {})
  }
}

async function dial(address: URL, proxy: string | null, signal: AbortSignal): Promise<Carrier> {
  const through = proxy === null ? null : await connectThrough(proxy, address, signal)
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(address, {
      handshakeTimeout: 10_000,
      maxPayload: 8 + maxHeadBytes + maxBodyBytes,
      perMessageDeflate: false,
      ...(through && { createConnection: () => through }),
    })
    const abort = () => socket.terminate()
    signal.addEventListener('abort', abort, { once: true })
    socket.once('close', () => signal.removeEventListener('abort', abort))
    socket.once('error', reject)
    socket.once('open', () => {
      socket.off('error', reject)
      resolve(socketCarrier(socket))
    })
  })
}
