import type { WebSocket } from 'ws'
import { DployError } from './errors.ts'
import { decodeFrame, encodeFrame } from './frame.ts'
import type { Carrier } from './peer.ts'

/** Above this many unsent bytes, `send` waits. */
const highWaterBytes = 1024 * 1024

/** Whoever goes on to send so much after this end has closed the connection is not waited for. Bytes. */
const mostAfter = 8 * 1024 * 1024

/**
 * Carries frames over an open WebSocket: one frame a binary message. Sends a ping every `pingEvery` milliseconds and
 * ends the connection when nothing at all came back within two of them.
 */
export function socketCarrier(socket: WebSocket, options: { pingEvery?: number } = {}): Carrier {
  const pingEvery = options.pingEvery ?? 5_000
  let heard = true
  // What comes after this end has closed it is for nobody: not even to be read.
  let closing = false
  let after = 0
  const waiting: (() => void)[] = []
  let paused = 0
  // The first frames may come with the answer to the handshake, before anybody listens.
  const early: { head: unknown; body: Uint8Array }[] = []
  let onFrame: Carrier['onFrame'] | null = null
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
      if (socket.readyState !== socket.OPEN) throw new DployError('connection.closed', 'The connection is not open')
      const bytes = encodeFrame(head, body)
      if (socket.bufferedAmount > highWaterBytes) await new Promise<void>((resolve) => waiting.push(resolve))
      if (socket.readyState !== socket.OPEN) throw new DployError('connection.closed', 'The connection is not open')
      socket.send(bytes, () => {
        if (socket.bufferedAmount <= highWaterBytes) for (const resume of waiting.splice(0)) resume()
      })
    },
    close(reason) {
      closing = true
      socket.close(1000, reason.slice(0, 100))
      endSoon()
    },
    pause() {
      if (paused++ === 0) socket.pause()
      return () => {
        if (--paused === 0) socket.resume()
      }
    },
  }
  const dropped = ({ length }: Buffer) => {
    if ((after += length) > mostAfter) socket.terminate()
  }
  // Who sent what is no frame may not answer the end of the connection either.
  const endSoon = () => void setTimeout(() => socket.terminate(), 1_000).unref()
  const timer = setInterval(() => {
    if (!heard) return socket.terminate()
    heard = false
    if (socket.readyState === socket.OPEN) socket.ping()
  }, pingEvery)
  timer.unref()
  socket.on('pong', () => (heard = true))
  socket.on('message', (data: Buffer, binary: boolean) => {
    heard = true
    if (closing) return dropped(data)
    try {
      if (!binary) throw new DployError('protocol.invalid', 'A text message came where frames are expected')
      const frame = decodeFrame(data)
      if (onFrame) onFrame(frame.head, frame.body)
      else early.push(frame)
    } catch (error) {
      closing = true
      socket.close(1002, error instanceof Error ? error.message.slice(0, 100) : 'invalid frame')
      endSoon()
    }
  })
  socket.on('error', endSoon)
  socket.on('close', (code, reason) => {
    clearInterval(timer)
    for (const resume of waiting.splice(0)) resume()
    carrier.onClose(reason.toString() || `closed with code ${code}`)
  })
  return carrier
}
