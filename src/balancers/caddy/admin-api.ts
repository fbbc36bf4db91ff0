import { request } from 'node:http'
import { DployError } from '../../protocol/errors.ts'
import type { Json } from './routes.ts'

/** How long Caddy has to answer; a change is answered when the new configuration runs. Milliseconds. */
const answerTimeout = 15_000
/** How long requests are sent again that Caddy cut: with every change it starts its admin API anew. Milliseconds. */
const repeatFor = 3_000
const repeatEvery = 20

interface Answer {
  status: number
  text: string
  tag: string | null
}

/** The admin API of one Caddy (caddyserver.com/docs/api). */
export class AdminApi {
  readonly address: string
  readonly #target: { socketPath: string } | { host: string; port: number }

  /** `unix:/path` or `tcp:HOST:PORT`. */
  constructor(address: string) {
    this.address = address
    const colon = address.lastIndexOf(':')
    this.#target = address.startsWith('unix:')
      ? { socketPath: address.slice(5) }
      : { host: address.slice(4, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) }
  }

  /** A value, and the tag by which a change is refused when somebody else was faster. Throws `balancer.unreachable`, `balancer.refused`. */
  async get(path: string, signal: AbortSignal): Promise<{ value: Json; tag: string | null }> {
    const { status, text, tag } = await this.#ask('GET', path, null, {}, signal)
    if (status !== 200) throw this.#refused(`GET ${path}`, status, text)
    return { value: JSON.parse(text) as Json, tag }
  }

  /** Replaces a value; false when it is not the one any more that had the tag. Throws `balancer.unreachable`, `balancer.refused`. */
  async replace(path: string, value: Json, tag: string | null, signal: AbortSignal): Promise<boolean> {
    const { status, text } = await this.#ask(
      'PATCH',
      path,
      JSON.stringify(value),
      tag === null ? {} : { 'if-match': tag },
      signal,
    )
    if (status === 412) return false
    if (status !== 200) throw this.#refused(`PATCH ${path}`, status, text)
    return true
  }

  /** A change is safe to send again: with a tag Caddy refuses it when it was made, and without one it is the same. */
  async #ask(
    method: string,
    path: string,
    body: string | null,
    headers: Record<string, string>,
    signal: AbortSignal,
  ): Promise<Answer> {
    const end = performance.now() + repeatFor
    for (;;) {
      try {
        return await this.#askOnce(method, path, body, headers, signal)
      } catch (error) {
        const code = error instanceof DployError ? (error.cause as NodeJS.ErrnoException).code : undefined
        if ((code !== 'ECONNRESET' && code !== 'EPIPE') || performance.now() > end) throw error
      }
      await new Promise((resolve) => setTimeout(resolve, repeatEvery))
    }
  }

  #askOnce(
    method: string,
    path: string,
    body: string | null,
    headers: Record<string, string>,
    signal: AbortSignal,
  ): Promise<Answer> {
    signal.throwIfAborted()
    // On a unix socket Caddy takes requests only without a host (its admin.origins).
    const socket = 'socketPath' in this.#target
    return new Promise((resolve, reject) => {
      const fail = (error: NodeJS.ErrnoException) => reject(signal.aborted ? signal.reason : this.#unreachable(error))
      const asked = request({
        ...this.#target,
        method,
        path,
        agent: false,
        timeout: answerTimeout,
        signal,
        ...(socket && { setHost: false }),
        headers: {
          ...(socket && { host: '' }),
          ...(body !== null && { 'content-type': 'application/json' }),
          ...headers,
        },
      })
      asked.once('response', (answer) => {
        let text = ''
        answer.setEncoding('utf8')
        answer.on('data', (chunk: string) => (text += chunk))
        answer.once('end', () =>
          resolve({
            status: answer.statusCode!,
            text,
            tag: (answer.trailers['etag'] ?? answer.headers['etag'] ?? null) as string | null,
          }),
        )
        answer.once('error', fail)
      })
      asked.once('timeout', () => asked.destroy(new Error(`no answer within ${answerTimeout / 1000} s`)))
      asked.once('error', fail)
      asked.end(body ?? undefined)
    })
  }

  #unreachable(error: NodeJS.ErrnoException): DployError {
    const why =
      error.code === 'ENOENT'
        ? 'there is no such socket'
        : error.code === 'EACCES'
          ? 'the socket may not be opened by this user'
          : error.code === 'ECONNREFUSED'
            ? 'nothing listens there'
            : error.message
    return new DployError(
      'balancer.unreachable',
      `The admin API of Caddy at ${this.address} cannot be reached: ${why}`,
      {
        where: this.address,
        fix: 'Check balancer.address in dploy.yml against "admin" in the configuration of Caddy',
        cause: error,
      },
    )
  }

  #refused(what: string, status: number, text: string): DployError {
    let why = text.trim().slice(0, 500)
    try {
      why = String((JSON.parse(text) as { error: unknown }).error)
    } catch {}
    return new DployError('balancer.refused', `Caddy at ${this.address} refuses ${what} (${status}): ${why}`, {
      where: this.address,
      fix:
        status === 403
          ? 'Allow this address in the configuration of Caddy: admin.origins'
          : 'Look at its log: journalctl --unit caddy',
    })
  }
}
