import type * as z from 'zod'
import { problemSchema, routes, type RouteName, type Routes } from '../protocol/api/contract.ts'
import type { Route } from '../protocol/api/route.ts'
import { DployError, type ErrorCode } from '../protocol/errors.ts'
import { serverSentEvents } from './server-sent-events.ts'

type Part<R, K extends string> = R extends Record<K, infer S extends z.ZodType> ? z.input<S> : undefined
type Compact<T> = { [K in keyof T as T[K] extends undefined ? never : K]: T[K] }

type Query<Q> = Q extends undefined ? object : object extends Q ? { query?: Q } : { query: Q }

/** What a call takes: the parts that its route has. A query of which nothing has to be said can be left out. */
export type Input<N extends RouteName> = Compact<{ params: Part<Routes[N], 'params'>; body: Part<Routes[N], 'body'> }> &
  Query<Part<Routes[N], 'query'>>
export type Output<N extends RouteName> = z.output<Routes[N]['response']>
export type StreamName = { [N in RouteName]: Routes[N] extends { stream: 'events' } ? N : never }[RouteName]
export type TextName = { [N in RouteName]: Routes[N] extends { stream: 'text' } ? N : never }[RouteName]
export type CallName = { [N in RouteName]: Routes[N] extends { stream: string } ? never : N }[RouteName]

/** How long a stream waits for a control plane that went away. Milliseconds. */
const patience = 60_000

/** How long what starts work is sent again, under the same key, when its answer was lost. Milliseconds. */
const insistence = 10_000
/** Errors of connections that were never made: what was sent over them has arrived nowhere. */
const neverMade: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOENT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
])

export interface ClientOptions {
  /** Where the API is: `https://dploy.example.org`. */
  url: string
  /** An API token; not needed over a unix socket. */
  token?: string | undefined
  fetch: typeof fetch
}

type Args<N extends RouteName> =
  object extends Input<N>
    ? [input?: Input<N>, options?: { signal?: AbortSignal }]
    : [input: Input<N>, options?: { signal?: AbortSignal }]

/** The API, typed from its contract. Every method throws DployError with the code that the API answered. */
export class Client {
  readonly #options: ClientOptions

  constructor(options: ClientOptions) {
    this.#options = options
  }

  /** What starts work goes with an Idempotency-Key, and is sent again under it when its answer is lost: it is done once. */
  async call<N extends CallName>(name: N, ...[input, options]: Args<N>): Promise<Output<N>> {
    const route: Route = routes[name]
    const key = keyFor(route)
    const ask = async () =>
      this.#json(await this.#request(route, input as Parts | undefined, { signal: options?.signal, key }))
    return route.response.parse(await (key === undefined ? ask() : insist(ask, options?.signal))) as Output<N>
  }

  /** The events of a stream, until it ends. After a lost connection it goes on after the last event that came, or begins anew where none has. */
  async *stream<N extends StreamName>(
    name: N,
    input: Input<N>,
    options: { signal?: AbortSignal } = {},
  ): AsyncGenerator<Output<N>> {
    const route: Route = routes[name]
    const key = keyFor(route)
    let lastId: string | undefined
    let lost: number | null = null
    // What is only read, and of which nothing has come yet, can be asked for anew from its beginning.
    let fresh = route.method === 'GET'
    for (;;) {
      try {
        const response = await this.#request(route, input as unknown as Parts, {
          signal: options.signal,
          lastId,
          key,
          accept: 'text/event-stream',
        })
        for await (const event of serverSentEvents(response.body!)) {
          if (event.name === 'end') return
          if (event.name === 'problem') throw problemOf(JSON.parse(event.data) as unknown, 500)
          lastId = event.id ?? lastId
          lost = null
          fresh = false
          yield route.response.parse(JSON.parse(event.data)) as Output<N>
        }
      } catch (error) {
        if (options.signal?.aborted) throw error
        const gone = error instanceof DployError && error.code === 'connection.closed'
        if (error instanceof DployError && (!gone || (lastId === undefined && !fresh))) throw error
        if (gone && lastId === undefined && lost === null && !wasMade(error)) throw error
      }
      // A control plane that was killed comes back and goes on; so does its stream, after the last event that came.
      lost ??= Date.now()
      if ((lastId === undefined && !fresh) || Date.now() - lost > patience)
        throw new DployError('connection.closed', `The connection to ${this.#options.url} ended`)
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }

  /** Text in pieces, as it comes. */
  async *text<N extends TextName>(
    name: N,
    input: Input<N>,
    options: { signal?: AbortSignal } = {},
  ): AsyncGenerator<string> {
    const response = await this.#request(routes[name], input as unknown as Parts, {
      signal: options.signal,
      accept: '*/*',
    })
    const decoder = new TextDecoder()
    for await (const chunk of response.body!) yield decoder.decode(chunk, { stream: true })
  }

  /** Uploads a pack. */
  async upload(pack: AsyncIterable<Uint8Array>, options: { signal?: AbortSignal } = {}): Promise<{ objects: number }> {
    const route = routes.uploadObjects
    const response = await this.#send(route.method, route.path, {
      body: streamOf(pack),
      headers: { 'content-type': 'application/zstd' },
      signal: options.signal,
    })
    return route.response.parse(await response.json())
  }

  /** Puts a file onto servers. */
  async copyTo(
    input: Input<'copyTo'>,
    content: AsyncIterable<Uint8Array>,
    options: { signal?: AbortSignal } = {},
  ): Promise<Output<'copyTo'>> {
    const response = await this.#send('PUT', addressOf(routes.copyTo, input), {
      body: streamOf(content),
      headers: { 'content-type': 'application/octet-stream' },
      signal: options.signal,
    })
    return routes.copyTo.response.parse(await response.json())
  }

  #request(
    route: Route,
    input: Parts | undefined,
    options: {
      signal?: AbortSignal | undefined
      lastId?: string | undefined
      key?: string | undefined
      accept?: string
    },
  ): Promise<Response> {
    const headers: Record<string, string> = { accept: options.accept ?? 'application/json' }
    if (options.key !== undefined) headers['idempotency-key'] = options.key
    if (options.lastId !== undefined) headers['last-event-id'] = options.lastId
    if (route.body) headers['content-type'] = 'application/json'
    return this.#send(route.method, addressOf(route, input), {
      headers,
      signal: options.signal,
      body: route.body ? JSON.stringify(input?.body ?? {}) : undefined,
    })
  }

  async #send(
    method: string,
    path: string,
    init: { headers: Record<string, string>; body?: RequestInit['body'] | undefined; signal?: AbortSignal | undefined },
  ): Promise<Response> {
    const headers = {
      ...init.headers,
      ...(this.#options.token === undefined ? {} : { authorization: `Bearer ${this.#options.token}` }),
    }
    let response: Response
    try {
      response = await this.#options.fetch(new URL(path, this.#options.url), {
        method,
        headers,
        ...(init.body === undefined ? {} : { body: init.body, duplex: 'half' }),
        ...(init.signal === undefined ? {} : { signal: init.signal }),
      } as RequestInit)
    } catch (error) {
      if (init.signal?.aborted) throw init.signal.reason
      throw new DployError(
        'connection.closed',
        `The control plane at ${this.#options.url} does not answer: ${causeOf(error)}`,
        { fix: 'Check its address and that dploy serve runs there', cause: error },
      )
    }
    if (!response.ok) throw problemOf(await response.json().catch(() => null), response.status)
    return response
  }

  /** An answer that was cut off is one that did not come. */
  async #json(response: Response): Promise<unknown> {
    try {
      return (await response.json()) as unknown
    } catch (error) {
      if (error instanceof SyntaxError) throw error
      throw new DployError(
        'connection.closed',
        `The answer of the control plane at ${this.#options.url} was cut off: ${causeOf(error)}`,
        { cause: error },
      )
    }
  }
}

/** A key of its own for a call that must not be done twice: a UUID of version 4. Browsers have crypto.randomUUID only where the page came by https. */
function keyFor(route: Route): string | undefined {
  if (!route.idempotent) return undefined
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

/** Asks until there is an answer, as long as it may have arrived without one. */
async function insist<T>(ask: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  let until: number | null = null
  for (let wait = 200; ; wait *= 2) {
    try {
      return await ask()
    } catch (error) {
      if (signal?.aborted || !(error instanceof DployError) || error.code !== 'connection.closed') throw error
      if (until === null && neverMade.has(codeOf(error.cause))) throw error
      until ??= Date.now() + insistence
      if (Date.now() + wait > until) throw error
      await new Promise((resolve) => setTimeout(resolve, wait))
      signal?.throwIfAborted()
    }
  }
}

/** Whether there was a connection, which was cut before an answer. */
function wasMade({ cause }: DployError): boolean {
  return cause !== undefined && !neverMade.has(codeOf(cause))
}

interface Parts {
  params?: Record<string, unknown>
  query?: Record<string, unknown>
  body?: unknown
}

/** Browsers' types do not know `from` yet; only the CLI uploads. */
function streamOf(source: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  return (ReadableStream as unknown as { from(source: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> }).from(
    source,
  )
}

/** A route's path with its parameters in it, and its query; a list is its key once for each. */
function addressOf(route: Route, input: Parts | undefined): string {
  const path = route.path.replace(/:(\w+)/g, (_, key: string) => encodeURIComponent(String(input?.params?.[key])))
  const query = new URLSearchParams()
  for (const [key, value] of Object.entries(input?.query ?? {}))
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined) query.append(key, String(one))
  return query.size > 0 ? `${path}?${query}` : path
}

function problemOf(value: unknown, status: number): DployError {
  const problem = problemSchema.safeParse(value)
  // A proxy says so of a control plane that went away.
  if (!problem.success)
    return new DployError(
      [502, 503, 504].includes(status) ? 'connection.closed' : 'internal',
      `The control plane answered ${status}`,
    )
  const { code, detail, fix, where } = problem.data
  return DployError.from({ code: code as ErrorCode, message: detail, fix, where })
}

/** Code of what was the matter with a connection, as fetch tells it. */
function codeOf(error: unknown): unknown {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return (cause as { code?: unknown } | null)?.code
}

function causeOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return cause instanceof Error ? cause.message || (cause as NodeJS.ErrnoException).code || cause.name : String(cause)
}
