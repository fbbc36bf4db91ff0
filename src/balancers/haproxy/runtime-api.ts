import { connect } from 'node:net'
import { DployError } from '../../protocol/errors.ts'

/** How long HAProxy has to answer a command. Milliseconds. */
const answerTimeout = 5_000
/** Commands that are on their way at the same time. HAProxy takes ten connections to a control socket by default, for all who ask. */
const atOnce = 3
/** Before a connection is tried again that HAProxy's queue had no room for. Milliseconds. */
const retryEvery = 20

/** The Runtime API of one HAProxy (management.txt, chapter 9.3): a command a connection, its answer until HAProxy closes. */
export class RuntimeApi {
  readonly address: string
  readonly #target: { path: string } | { host: string; port: number }
  #open = 0
  readonly #waiting: (() => void)[] = []

  /** `unix:/path`, `/path`, `tcp:host:port` or `host:port`. */
  constructor(address: string) {
    this.address = address
    this.#target = parseAddress(address)
  }

  /** Sends a command, or several joined by `;`, and answers what HAProxy says. Throws `balancer.unreachable`. */
  async ask(command: string, signal: AbortSignal): Promise<string> {
    if (this.#open >= atOnce) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#open++
    try {
      const end = performance.now() + answerTimeout
      for (;;) {
        try {
          return await this.#askOnce(command, signal)
        } catch (error) {
          // A unix socket whose queue is full: nothing was sent (connect(2), EAGAIN).
          const full =
            error instanceof DployError && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'EAGAIN'
          if (!full || performance.now() > end) throw error
          await new Promise((resolve) => setTimeout(resolve, retryEvery))
        }
      }
    } finally {
      this.#open--
      this.#waiting.shift()?.()
    }
  }

  #askOnce(command: string, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted()
    return new Promise((resolve, reject) => {
      const socket = connect(this.#target)
      const chunks: Buffer[] = []
      const abort = () => socket.destroy(signal.reason as Error)
      signal.addEventListener('abort', abort, { once: true })
      socket.setTimeout(answerTimeout, () => socket.destroy(new Error(`no answer within ${answerTimeout / 1000} s`)))
      socket.on('data', (chunk) => chunks.push(chunk))
      socket.on('error', (error) => reject(signal.aborted ? signal.reason : this.#unreachable(error)))
      socket.on('close', () => {
        signal.removeEventListener('abort', abort)
        resolve(Buffer.concat(chunks).toString('utf8'))
      })
      socket.end(`${command}\n`)
    })
  }

  #unreachable(error: NodeJS.ErrnoException): DployError {
    const why =
      error.code === 'ENOENT'
        ? 'there is no such socket'
        : error.code === 'EACCES' || error.code === 'EPERM'
          ? 'the socket may not be opened by this user'
          : error.code === 'ECONNREFUSED'
            ? 'nothing listens there'
            : error.message
    const fix =
      error.code === 'EACCES' || error.code === 'EPERM'
        ? 'Run dploy as a user of the group that the socket belongs to (stats socket … group … mode 660)'
        : 'Check balancer.address in dploy.yml against "stats socket" in haproxy.cfg'
    return new DployError('balancer.unreachable', `HAProxy at ${this.address} cannot be reached: ${why}`, {
      where: this.address,
      fix,
      cause: error,
    })
  }
}

function parseAddress(address: string): { path: string } | { host: string; port: number } {
  const plain = address.replace(/^unix:(\/\/(?=\/))?/, '')
  if (plain.startsWith('/')) return { path: plain }
  const match = /^(?:tcp:(?:\/\/)?)?(?:\[([^\]]+)\]|([^:/]+)):(\d{1,5})$/.exec(address)
  if (!match)
    throw new DployError('balancer.unreachable', `${JSON.stringify(address)} is no address of a Runtime API`, {
      where: 'balancer.address',
      fix: 'Write unix:/run/haproxy/admin.sock or tcp:HOST:PORT',
    })
  return { host: match[1] ?? match[2]!, port: Number(match[3]) }
}
