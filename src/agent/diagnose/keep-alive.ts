import { connect } from 'node:net'
import type { Diagnosis } from '../../protocol/diagnosis.ts'

export interface KeepAliveOptions {
  port: number
  path: string
  host: string | null
  /** Milliseconds. */
  patience: number
  signal: AbortSignal
}

/**
 * How long a service keeps an HTTP/1.1 connection open that nobody uses: asks once and waits for the end, at most
 * `patience`. What it announces by `Keep-Alive: timeout=N` (RFC 2068, 19.7.1.1) is believed. A service that answers with
 * `Connection: close` keeps none, which no balancer takes amiss: null.
 */
export function measureKeepAlive(options: KeepAliveOptions): Promise<Diagnosis['keepAlive']> {
  const { port, path, host, patience, signal } = options
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    let head = ''
    let quiet = 0
    const done = (ms: number | null, announced = false) => {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
      socket.destroy()
      resolve({ port, ms, announced })
    }
    const abort = () => done(null)
    const timer = setTimeout(abort, patience)
    signal.addEventListener('abort', abort, { once: true })
    socket.on('error', () => done(null))
    socket.on('connect', () =>
      socket.write(
        `GET ${path} HTTP/1.1\r\nHost: ${host ?? `localhost:${port}`}\r\nUser-Agent: dploy doctor\r\nConnection: keep-alive\r\n\r\n`,
      ),
    )
    socket.on('data', (chunk: Buffer) => {
      quiet = performance.now()
      if (head.includes('\r\n\r\n') || head.length > 100_000) return
      head += chunk.toString('latin1')
      if (!head.includes('\r\n\r\n')) return
      const told = announcedIn(head)
      if (told === 'closes') done(null)
      else if (told !== null) done(told, true)
    })
    socket.on('end', () => done(quiet === 0 ? null : performance.now() - quiet))
  })
}

/** What the head of an answer says of its connection: milliseconds that it stays open, or that it ends now. Pure. */
export function announcedIn(head: string): number | 'closes' | null {
  const [status = '', ...lines] = head.slice(0, head.indexOf('\r\n\r\n')).split('\r\n')
  const field = (name: string) =>
    lines
      .find((line) => line.toLowerCase().startsWith(`${name}:`))
      ?.slice(name.length + 1)
      .trim() ?? ''
  const connection = field('connection').toLowerCase()
  if (/\bclose\b/.test(connection) || (status.startsWith('HTTP/1.0') && !/\bkeep-alive\b/.test(connection)))
    return 'closes'
  const seconds = /\btimeout=(\d+)/.exec(field('keep-alive'))?.[1]
  return seconds === undefined ? null : Number(seconds) * 1000
}
