import { DployError } from '../protocol/errors.ts'

/** Aborts when the caller cancels, but not when the connection ends. */
export function onlyCancelled(signal: AbortSignal): AbortSignal {
  const controller = new AbortController()
  signal.addEventListener('abort', () => {
    const reason: unknown = signal.reason
    if (!(reason instanceof DployError) || reason.code !== 'connection.closed') controller.abort(reason)
  })
  return controller.signal
}
