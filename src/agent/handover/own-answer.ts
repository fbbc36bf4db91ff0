import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { formatDuration } from '../../protocol/duration.ts'
import { DployError } from '../../protocol/errors.ts'
import { checkOnce, type HealthTarget } from '../health.ts'
import { isAnsweredBy } from '../services/connections.ts'

/** Between two tries, and between two looks at who took a connection. Milliseconds. */
const tryEvery = 2
/** So long a connection may wait until somebody takes it. Milliseconds. */
const takenWithin = 200

/**
 * Waits until one of these processes answers well on a port that others accept on too: `health.successes` times. The
 * kernel says who took a connection; only those that were taken by one of them are asked. Throws `service.unhealthy`
 * after `health.timeout`, and rejects with `exited` at once.
 */
export async function waitOwnAnswer(target: HealthTarget, pids: () => Promise<number[]>): Promise<void> {
  const { health, signal, exited } = target
  const port = target.ports[0]!
  const deadline = performance.now() + health.timeout
  const stop = new AbortController()
  const waiting = async () => {
    let last = 'it takes no connection from the socket that it was given'
    for (let good = 0; performance.now() < deadline && !stop.signal.aborted;) {
      signal.throwIfAborted()
      const socket = connect({ host: '127.0.0.1', port })
      try {
        socket.on('error', () => {})
        await once(socket, 'connect')
        if (await isTakenBy(await pids(), port, socket)) {
          const { ok, detail } = await checkOnce(target, port, socket)
          good = ok ? good + 1 : 0
          last = detail
          if (good >= health.successes) return
        }
      } catch {
        // Nobody listens yet.
      } finally {
        socket.destroy()
      }
      await delay(tryEvery, undefined, { signal })
    }
    throw new DployError(
      'service.unhealthy',
      `The new release was not healthy within ${formatDuration(health.timeout)}: ${last}`,
    )
  }
  try {
    await Promise.race([waiting(), exited])
  } finally {
    stop.abort()
  }
}

async function isTakenBy(pids: readonly number[], port: number, socket: Socket): Promise<boolean> {
  for (const end = performance.now() + takenWithin; performance.now() < end; await delay(tryEvery)) {
    const taken = isAnsweredBy(pids, port, socket.localPort!)
    if (taken !== null) return taken
  }
  return false
}
