import type { Readable, Writable } from 'node:stream'
import { DployError } from './errors.ts'
import { encodeFrame, FrameReader } from './frame.ts'
import type { Carrier } from './peer.ts'

/**
 * Carries frames over a pair of byte streams: standard input and output of an agent, or what ssh makes of them. `send`
 * waits while the stream is full. Ends when the incoming stream does; whether the other end still lives is for what
 * makes the streams to notice (ssh's ServerAliveInterval).
 */
export function streamCarrier(incoming: Readable, outgoing: Writable): Carrier {
  const reader = new FrameReader()
  // Frames may come before anybody listens.
  const early: { head: unknown; body: Uint8Array }[] = []
  let onFrame: Carrier['onFrame'] | null = null
  let ended: string | null = null
  let full: PromiseWithResolvers<void> | null = null
  let paused = 0

  const end = (reason: string) => {
    if (ended !== null) return
    ended = reason
    full?.resolve()
    outgoing.end()
    carrier.onClose(reason)
  }
  const carrier: Carrier = {
    get onFrame() {
      return onFrame ?? (() => {})
    },
    set onFrame(listener) {
      onFrame = listener
      for (const { head, body } of early.splice(0)) listener(head, body)
    },
    onClose: () => {},
    async send(head, body) {
      const bytes = encodeFrame(head, body)
      // Whoever comes while others are woken comes after them; and of those who are woken, each waits again when the one before has filled it.
      await full?.promise
      while (full !== null && ended === null) await full.promise
      if (ended !== null) throw new DployError('connection.closed', `The connection ended: ${ended}`)
      if (!outgoing.write(bytes)) full ??= Promise.withResolvers()
    },
    close: (reason) => end(reason),
    pause() {
      if (paused++ === 0) incoming.pause()
      return () => {
        if (--paused === 0) incoming.resume()
      }
    },
  }
  outgoing.on('drain', () => {
    full?.resolve()
    full = null
  })
  outgoing.on('error', (error) => end(error.message))
  incoming.on('data', (chunk: Buffer) => {
    if (ended !== null) return
    try {
      for (const frame of reader.push(chunk)) {
        if (onFrame) onFrame(frame.head, frame.body)
        else early.push(frame)
      }
    } catch (error) {
      end((error as Error).message)
    }
  })
  incoming.on('error', (error) => end(error.message))
  incoming.on('end', () => end('the other end closed it'))
  incoming.on('close', () => end('the other end closed it'))
  return carrier
}
