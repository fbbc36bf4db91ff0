import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { open, stat, type FileHandle } from 'node:fs/promises'
import { isIPv6 } from 'node:net'
import { DployError } from '../../protocol/errors.ts'
import type { LoggedRequest } from '../contract.ts'
import { parseLogLine } from './log-line.ts'

/** How often a file is read on. Milliseconds. */
const readEvery = 100
/** So much of a file is read at once; and so much of a line is kept that has no end yet. Bytes. */
const piece = 256 * 1024
const longestLine = 64 * 1024

type OnLine = (line: string) => void

/**
 * HAProxy's log as it is written: datagrams that it sends here itself (`log HOST:PORT len 4096 local0`), or a file that a syslog
 * daemon writes, also when that is rotated.
 */
export class HaproxyLog {
  readonly #where: string
  readonly #backends: ReadonlySet<string>

  /** `udp:HOST:PORT` or the path of a file. */
  constructor(where: string, backends: readonly string[]) {
    this.#where = where
    this.#backends = new Set(backends)
  }

  /** Tells of every request to the backends from now on, until disposed of. Throws `balancer.log_unreadable`. */
  async follow(onRequest: (request: LoggedRequest) => void): Promise<AsyncDisposable> {
    try {
      return await readLines(this.#where, (line) => {
        const request = parseLogLine(line, Date.now())
        if (request && this.#backends.has(request.backend)) onRequest(request)
      })
    } catch (error) {
      throw new DployError(
        'balancer.log_unreadable',
        `The log of HAProxy cannot be read (${this.#where}): ${(error as Error).message}`,
        { where: this.#where, cause: error },
      )
    }
  }

  /** Why it cannot be followed; null: it can. */
  async problem(): Promise<string | null> {
    try {
      await using _ = await this.follow(() => {})
      return null
    } catch (error) {
      return (error as Error).message
    }
  }
}

/** What is read in this process: a port can be listened on once, and several deployments may want to know. */
const readers = new Map<string, { listeners: Set<OnLine>; source: Promise<AsyncDisposable> }>()

/** Those that are about to let go of their port. */
const closing = new Map<string, Promise<void>>()

async function readLines(where: string, onLine: OnLine): Promise<AsyncDisposable> {
  let reader = readers.get(where)
  if (!reader) {
    const listeners = new Set<OnLine>()
    const tell: OnLine = (line) => {
      for (const listener of listeners) listener(line)
    }
    const open = async () => {
      await closing.get(where)
      return where.startsWith('udp:') ? listen(where.slice(4), tell) : tail(where, tell)
    }
    reader = { listeners, source: open() }
    readers.set(where, reader)
  }
  const { listeners, source } = reader
  const own: OnLine = (line) => onLine(line)
  listeners.add(own)
  const leave = async () => {
    if (!listeners.has(own)) return
    if (listeners.size > 1) return void listeners.delete(own)
    if (readers.get(where)?.listeners === listeners) readers.delete(where)
    // Until it is closed, what is still to be read belongs to the last one.
    const closed = source
      .then(
        (open) => open[Symbol.asyncDispose](),
        () => {},
      )
      .finally(() => {
        listeners.delete(own)
        if (closing.get(where) === closed) closing.delete(where)
      })
    closing.set(where, closed)
    await closed
  }
  try {
    await source
  } catch (error) {
    await leave()
    throw error
  }
  return { [Symbol.asyncDispose]: leave }
}

/** Takes datagrams, a line each. */
async function listen(address: string, onLine: OnLine): Promise<AsyncDisposable> {
  const host = address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '')
  // A busy moment of this process should not lose any.
  const socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4', recvBufferSize: 4 * 1024 * 1024 })
  socket.on('message', (message) => onLine(message.toString('utf8')))
  const bound = once(socket, 'listening')
  socket.bind(Number(address.slice(address.lastIndexOf(':') + 1)), host)
  await bound
  socket.on('error', () => {})
  socket.unref()
  return {
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => socket.close(resolve))
    },
  }
}

/** Reads a file on from its end, and on in the file that takes its place. */
async function tail(path: string, onLine: OnLine): Promise<AsyncDisposable> {
  let file: FileHandle = await open(path, 'r')
  let { ino, size: at } = await file.stat()
  let rest = ''
  let over = false
  const buffer = Buffer.alloc(piece)
  const readOn = async () => {
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, piece, at)
      if (bytesRead === 0) return
      at += bytesRead
      const lines = (rest + buffer.toString('latin1', 0, bytesRead)).split('\n')
      rest = lines.pop()!.slice(-longestLine)
      for (const line of lines) onLine(line)
    }
  }
  const look = async () => {
    await readOn()
    const now = await stat(path).catch(() => null)
    if (now === null || (now.ino === ino && now.size >= at)) return
    if (now.ino !== ino) {
      const next = await open(path, 'r')
      await readOn()
      await file.close()
      file = next
      ino = now.ino
    }
    // Another file, or the same one emptied (copytruncate).
    at = 0
    rest = ''
    await readOn()
  }
  let looking = Promise.resolve()
  const timer = setInterval(() => {
    looking = looking.then(() => (over ? undefined : look())).catch(() => {})
  }, readEvery).unref()
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await looking
      // What was written since the last look belongs to it.
      if (!over) await look().catch(() => {})
      over = true
      await file.close()
    },
  }
}
