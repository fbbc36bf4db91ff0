import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import { errorTable, reportOf } from '../../protocol/errors.ts'

/** How often a silent stream says that it lives, so that proxies keep it open. Milliseconds. */
const keepAlive = 15_000

/** Answers server-sent events; `end` follows the last, `problem` stands for an error that came on the way. */
export async function streamEvents(reply: FastifyReply, events: AsyncIterable<{ id?: number; data: unknown }>): Promise<void> {
  const iterator = events[Symbol.asyncIterator]()
  reply.hijack()
  const { raw } = reply
  raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
  raw.flushHeaders()
  const timer = setInterval(() => raw.write(':\n\n'), keepAlive)
  try {
    for (let next = await iterator.next(); !next.done && !raw.destroyed; next = await iterator.next()) {
      const { id, data } = next.value
      const whole = raw.write(`${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`)
      if (!whole) await new Promise<void>((resolve) => (raw.once('drain', resolve), raw.once('close', resolve)))
    }
    if (!raw.destroyed) raw.end('event: end\ndata: {}\n\n')
  } catch (error) {
    const report = reportOf(error)
    const problem = { type: 'about:blank', title: errorTable[report.code].title, status: errorTable[report.code].status, detail: report.message, code: report.code, fix: report.fix, where: report.where }
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
