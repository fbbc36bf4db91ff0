import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import type { ErrorReport } from '../../../protocol/errors.ts'
import { problemOf } from './problem.ts'

/** How often a silent stream says that it lives, so that proxies keep it open. Milliseconds. */
const keepAlive = 15_000
/** How much may wait to be sent before more is read: a burst goes out in one piece. Bytes. */
const mostWaiting = 256 * 1024
/** How long the first event may keep the answer waiting: until then an error is answered under its own status. Milliseconds. */
const firstWait = 100

/**
 * Answers server-sent events; `end` follows the last, `problem` stands for an error that came on the way. Throws what
 * happens before anything is answered. `told` is what is said of an error.
 */
export async function streamEvents(
  reply: FastifyReply,
  events: AsyncIterable<{ id?: number; data: unknown }>,
  told: (error: unknown) => ErrorReport,
): Promise<void> {
  const iterator = events[Symbol.asyncIterator]()
  const first = iterator.next()
  let waiting: NodeJS.Timeout | undefined
  await Promise.race([first, new Promise((resolve) => (waiting = setTimeout(resolve, firstWait)))]).finally(() =>
    clearTimeout(waiting),
  )
  reply.hijack()
  const { raw } = reply
  raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
  raw.flushHeaders()
  const timer = setInterval(() => raw.write(':\n\n'), keepAlive)
  try {
    for (let next = await first; !next.done && !raw.destroyed; next = await iterator.next()) {
      const { id, data } = next.value
      raw.write(`${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`)
      if (raw.writableLength > mostWaiting)
        await new Promise<void>((resolve) => (raw.once('drain', resolve), raw.once('close', resolve)))
    }
    if (!raw.destroyed) raw.end('event: end\ndata: {}\n\n')
  } catch (error) {
    const problem = problemOf(told(error))
    if (!raw.destroyed) raw.end(`event: problem\ndata: ${JSON.stringify(problem)}\n\n`)
  } finally {
    clearInterval(timer)
    await iterator.return?.()
  }
}

/** Answers text in pieces, no faster than it is read. */
export function streamText(reply: FastifyReply, pieces: AsyncIterable<string>): FastifyReply {
  return reply.serializer((value: unknown) => value as string).send(Readable.from(pieces, { objectMode: false }))
}
