import { lookup, type LookupAddress } from 'node:dns'
import http from 'node:http'
import https from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { performance } from 'node:perf_hooks'
import { stallMs } from './sample.ts'

/** So much of an answer is read; a page that is longer counts as answered then. */
const bodyLimit = 1024 * 1024
const lookupEvery = 5_000

/** Headers in which an application or a balancer says which server answered. */
const serverHeaders = ['x-served-by', 'x-server', 'x-backend-server']

export interface Answer {
  status: number | null
  error: string | null
  /** Whether its connection had been used before. */
  connection: 'kept' | 'fresh'
  port?: number
  servedBy?: string
}
type Outcome = Answer & { closedUnused: boolean }

/**
 * A GET of one address, as a browser asks, or a POST without a body to a path beside it: the same address may be asked many times at once. Redirects are answers.
 * Certificates are checked.
 */
export class Question {
  /** Resolves when the host's addresses are known, or known to be unknown. */
  readonly ready: Promise<void>
  readonly #url: URL
  readonly #post: URL | null
  readonly #timeout: number
  readonly #module: typeof http | typeof https
  readonly #kept: http.Agent
  readonly #addresses: Addresses

  /** `timeout` in milliseconds, for the whole answer. Throws TypeError when `url` is not one. */
  constructor(url: string, timeout: number, post: string | null = null) {
    this.#url = new URL(url)
    this.#post = post === null ? null : new URL(post, url)
    this.#timeout = timeout
    this.#module = this.#url.protocol === 'https:' ? https : http
    this.#kept = new this.#module.Agent({ keepAlive: true, maxFreeSockets: 2 })
    this.#addresses = new Addresses(this.#url.hostname.replace(/^\[|\]$/g, ''))
    this.ready = this.#addresses.first
  }

  /** Asks once. Never rejects. */
  async ask(connection: 'kept' | 'fresh', method: 'GET' | 'POST' = 'GET'): Promise<Answer> {
    const signal = AbortSignal.timeout(this.#timeout)
    const sent = performance.now()
    const first = await this.#once(connection, method, signal)
    // A server may close a kept connection in the very moment in which it is used again. Clients ask again then, by
    // RFC 9112 section 9.3.1, and so nobody sees it; the time of both is the answer's. What was cut later than a user
    // would notice was cut at work, and counts. A POST is never sent again: it may have been done.
    const answer =
      method === 'GET' && first.closedUnused && performance.now() - sent < stallMs
        ? await this.#once('fresh', method, signal)
        : first
    const { closedUnused: _, ...rest } = answer
    return rest
  }

  /** Ends kept connections and the look-ups. */
  close(): void {
    this.#kept.destroy()
    this.#addresses.close()
  }

  #once(connection: 'kept' | 'fresh', method: 'GET' | 'POST', signal: AbortSignal): Promise<Outcome> {
    return new Promise((resolve) => {
      const request = this.#module.request(method === 'POST' ? this.#post! : this.#url, {
        method,
        agent: connection === 'kept' ? this.#kept : false,
        lookup: this.#addresses.lookup,
        headers: {
          'user-agent': 'dploy-probe',
          accept: '*/*',
          ...(method === 'POST' ? { 'content-length': 0 } : {}),
          ...(connection === 'fresh' ? { connection: 'close' } : {}),
        },
      })
      let answered = false
      let over = false
      let servedBy: string | undefined
      let port: number | undefined
      const end = (answer: Pick<Answer, 'status' | 'error'>, closedUnused = false) => {
        if (over) return
        over = true
        signal.removeEventListener('abort', timeOut)
        resolve({
          ...answer,
          connection: request.reusedSocket ? 'kept' : 'fresh',
          closedUnused,
          ...(port === undefined ? {} : { port }),
          ...(servedBy === undefined ? {} : { servedBy }),
        })
      }
      const fail = (error: Error) =>
        end(
          { status: null, error: answered ? `answer cut off: ${explain(error)}` : explain(error) },
          !answered && request.reusedSocket && isClosed(error),
        )
      const timeOut = () => {
        end({ status: null, error: `no ${answered ? 'complete ' : ''}answer within ${this.#timeout / 1000} s` })
        request.destroy()
      }
      if (signal.aborted) timeOut()
      else signal.addEventListener('abort', timeOut, { once: true })
      request.on('socket', (socket) => {
        const know = () => (port = socket.localPort)
        if (socket.connecting) socket.once('connect', know)
        else know()
      })
      request.on('error', fail)
      request.on('response', (response) => {
        answered = true
        servedBy = serverHeaders
          .map((name) => response.headers[name])
          .find((value) => typeof value === 'string')
          ?.slice(0, 200)
        const status = response.statusCode ?? 0
        let length = 0
        response.on('data', (chunk: Buffer) => {
          length += chunk.length
          if (length < bodyLimit) return
          end({ status, error: null })
          request.destroy()
        })
        response.on('end', () => end({ status, error: null }))
        response.on('error', fail)
      })
      request.end()
      // A connection may close without an error; then none of the above came.
      request.on('close', () =>
        end(
          { status: null, error: answered ? 'answer cut off' : 'connection closed without an answer' },
          !answered && request.reusedSocket,
        ),
      )
    })
  }
}

/**
 * The addresses of a host, looked up every few seconds and never while a request waits: look-ups run on threads that
 * the whole process shares, so that a busy control plane would be taken for a slow application.
 */
class Addresses {
  readonly first: Promise<void>
  readonly #host: string
  #known: LookupAddress[] = []
  #error: NodeJS.ErrnoException | null = null
  #timer: NodeJS.Timeout | undefined

  constructor(host: string) {
    this.#host = host
    this.first = isIP(host) === 0 ? this.#refresh() : Promise.resolve()
    if (isIP(host) === 0) this.#timer = setInterval(() => void this.#refresh(), lookupEvery).unref()
  }

  readonly lookup: LookupFunction = (host, options, callback) => {
    if (host !== this.#host) return lookup(host, options, callback)
    const fitting = this.#known.filter(
      ({ family }) => (options.family !== 4 && options.family !== 6) || options.family === family,
    )
    const [address] = fitting
    // Callers rely on the callback being later than their call.
    process.nextTick(() => {
      if (!address) callback(this.#error ?? new Error(`the host ${host} has no address`), '')
      else if (options.all) callback(null, fitting)
      else callback(null, address.address, address.family)
    })
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #refresh(): Promise<void> {
    return new Promise((resolve) => {
      lookup(this.#host, { all: true }, (error, addresses) => {
        this.#error = error
        if (!error) this.#known = addresses
        resolve()
      })
    })
  }
}

function isClosed(error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ECONNRESET' || code === 'EPIPE'
}

const explanations: Record<string, string> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EPIPE: 'connection reset',
  ENOTFOUND: 'the host is unknown',
  EAI_AGAIN: 'the host cannot be looked up',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'the network cannot be reached',
  ETIMEDOUT: 'no connection in time',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is self-signed, and not trusted here',
  SELF_SIGNED_CERT_IN_CHAIN: 'the certificate ends in one that is not trusted here',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the certificate comes without the one that it rests on',
  CERT_HAS_EXPIRED: 'the certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'the certificate is for another host',
}

function explain(error: Error): string {
  // Where a host has several addresses, all of them failed; the last is the most usual one (IPv4).
  const last: unknown = error instanceof AggregateError ? error.errors.at(-1) : error
  const cause = (last instanceof Error ? last : error) as NodeJS.ErrnoException
  const code = cause.code ?? ''
  return explanations[code] ?? (cause.message || code || 'unknown error').replaceAll(/\s+/g, ' ').slice(0, 200)
}
