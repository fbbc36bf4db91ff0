import {
  createServer,
  request as httpRequest,
  Agent,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import { connect, type Socket } from 'node:net'
import * as z from 'zod'
import type { ServerCounters, ServerTraffic, TrafficCounters } from '../contract.ts'

/** Between two health checks of a server. Milliseconds. */
const checkEvery = 250
/** How long a server has to answer a check. Milliseconds. */
const checkTimeout = 1_000

/** What is sent to the control address. */
export const controlRequestSchema = z.object({ server: z.string(), state: z.enum(['ready', 'drain', 'out']) })
/** What the control address answers. */
export const controlAnswerSchema = z.object({
  servers: z.array(
    z.object({
      server: z.string(),
      admission: z.enum(['ready', 'draining', 'out']),
      up: z.boolean(),
      inFlight: z.number(),
      check: z.string().nullable(),
      /** Requests that it answered or was asked, and those of them that failed. */
      counted: z.object({ requests: z.number(), failed: z.number() }),
    }),
  ),
  counters: z.object({
    requests: z.number(),
    serverErrors: z.number(),
    connectionErrors: z.number(),
    responseErrors: z.number(),
    retries: z.number(),
    redispatches: z.number(),
  }),
})

interface Member extends ServerTraffic {
  port: number
  counted: ServerCounters
}

export interface BuiltinBalancerOptions {
  /** Port on 127.0.0.1; 0: any. */
  port: number
  controlPort: number
  servers: { name: string; port: number }[]
  healthPath: string
}

/**
 * A small balancer for `dploy demo` on machines without HAProxy; not for production: one process, HTTP/1.1, loopback.
 * Round robin over the servers that are ready and up; a request whose connection is refused goes to the next server.
 */
export class BuiltinBalancer implements AsyncDisposable {
  readonly #members: Member[]
  readonly #counters: TrafficCounters = {
    requests: 0,
    serverErrors: 0,
    connectionErrors: 0,
    responseErrors: 0,
    retries: 0,
    redispatches: 0,
  }
  // Connections to servers are not kept: one that a restarting server closes cannot be reused by mistake.
  readonly #agent = new Agent({ keepAlive: false })
  readonly #healthPath: string
  readonly #proxy: Server
  readonly #control: Server
  readonly #timer: NodeJS.Timeout
  #next = 0

  private constructor(options: BuiltinBalancerOptions) {
    this.#members = options.servers.map(({ name, port }) => ({
      server: name,
      port,
      admission: 'ready',
      up: false,
      inFlight: 0,
      check: null,
      counted: { requests: 0, failed: 0 },
    }))
    this.#healthPath = options.healthPath
    this.#proxy = createServer({ keepAliveTimeout: 60_000 }, (request, response) =>
      this.#forward(request, response, [...this.#candidates()]),
    )
    this.#proxy.on('upgrade', (request, socket: Socket, head) => this.#upgrade(request, socket, head))
    this.#control = createServer((request, response) => void this.#answerControl(request, response))
    this.#timer = setInterval(() => void this.#checkAll(), checkEvery)
  }

  static async start(options: BuiltinBalancerOptions): Promise<BuiltinBalancer> {
    const balancer = new BuiltinBalancer(options)
    await Promise.all([listen(balancer.#proxy, options.port), listen(balancer.#control, options.controlPort)])
    return balancer
  }

  get url(): string {
    return `http://127.0.0.1:${portOf(this.#proxy)}`
  }

  get controlAddress(): string {
    return `http://127.0.0.1:${portOf(this.#control)}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    for (const server of [this.#proxy, this.#control]) {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }

  /** The servers to try, the one whose turn it is first. */
  #candidates(): Member[] {
    const able = this.#members.filter(({ admission, up }) => admission === 'ready' && up)
    if (able.length === 0) return []
    const start = this.#next++ % able.length
    return [...able.slice(start), ...able.slice(0, start)]
  }

  #forward(request: IncomingMessage, response: ServerResponse, candidates: Member[]): void {
    if (!response.headersSent && candidates.length === this.#ableCount()) this.#counters.requests++
    const member = candidates.shift()
    if (!member) {
      this.#counters.serverErrors++
      response.writeHead(503, { 'content-type': 'text/plain' }).end('503: no server is available\n')
      return
    }
    member.inFlight++
    let counted = true
    const done = () => {
      if (counted) member.inFlight--
      counted = false
    }
    const outgoing = httpRequest({
      host: '127.0.0.1',
      port: member.port,
      method: request.method,
      path: request.url,
      headers: { ...request.headers, connection: 'close' },
      agent: this.#agent,
    })
    let connected = false
    outgoing.on('socket', (socket) => socket.once('connect', () => ((connected = true), request.pipe(outgoing))))
    outgoing.on('response', (incoming) => {
      member.counted.requests++
      if (incoming.statusCode! >= 500) {
        this.#counters.serverErrors++
        member.counted.failed++
      }
      const headers = { ...incoming.headers }
      delete headers.connection
      response.writeHead(incoming.statusCode!, headers)
      incoming.pipe(response)
      incoming.on('close', done)
    })
    outgoing.on('error', () => {
      done()
      if (response.headersSent) {
        this.#counters.responseErrors++
        member.counted.failed++
        response.destroy()
      } else if (!connected) {
        // Nothing of the request was sent, so another server may have it.
        member.up = false
        this.#counters.connectionErrors++
        member.counted.requests++
        member.counted.failed++
        this.#counters.redispatches++
        this.#forward(request, response, candidates)
      } else {
        this.#counters.responseErrors++
        this.#counters.serverErrors++
        member.counted.requests++
        member.counted.failed++
        response.writeHead(502, { 'content-type': 'text/plain' }).end('502: the server closed the connection\n')
      }
    })
    response.on('close', () => outgoing.destroy())
  }

  #ableCount(): number {
    return this.#members.filter(({ admission, up }) => admission === 'ready' && up).length
  }

  #upgrade(request: IncomingMessage, client: Socket, head: Buffer): void {
    const member = this.#candidates()[0]
    if (!member) return void client.end('HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n')
    this.#counters.requests++
    member.counted.requests++
    member.inFlight++
    const server = connect(member.port, '127.0.0.1', () => {
      const headers = request.rawHeaders
        .map((value, index) => (index % 2 === 0 ? `${value}: ` : `${value}\r\n`))
        .join('')
      server.write(`${request.method} ${request.url} HTTP/1.1\r\n${headers}\r\n`)
      server.write(head)
      server.pipe(client).pipe(server)
    })
    server.once('close', () => member.inFlight--)
    for (const [one, other] of [
      [server, client],
      [client, server],
    ] as const)
      one.on('error', () => other.destroy()).on('close', () => other.destroy())
  }

  async #answerControl(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === 'POST') {
      let text = ''
      for await (const chunk of request) text += chunk
      const wanted = controlRequestSchema.safeParse(parseJson(text))
      const member = wanted.success ? this.#members.find(({ server }) => server === wanted.data.server) : undefined
      if (!wanted.success || !member) return void response.writeHead(404).end()
      member.admission = wanted.data.state === 'drain' ? 'draining' : wanted.data.state
      if (wanted.data.state === 'ready') await this.#check(member)
    }
    response.setHeader('content-type', 'application/json')
    response.end(
      JSON.stringify({
        servers: this.#members.map(({ port: _, ...member }) => member),
        counters: this.#counters,
      } satisfies z.infer<typeof controlAnswerSchema>),
    )
  }

  async #checkAll(): Promise<void> {
    await Promise.all(this.#members.filter(({ admission }) => admission !== 'out').map((member) => this.#check(member)))
  }

  #check(member: Member): Promise<void> {
    return new Promise((resolve) => {
      const asked = httpRequest({
        host: '127.0.0.1',
        port: member.port,
        path: this.#healthPath,
        agent: false,
        timeout: checkTimeout,
      })
      const end = (up: boolean, check: string) => {
        Object.assign(member, { up, check })
        resolve()
      }
      asked.once('response', (answer) => {
        answer.resume()
        end(answer.statusCode! < 400, `answered ${answer.statusCode}`)
      })
      asked.once('timeout', () => asked.destroy(new Error('no answer')))
      asked.once('error', (error) => end(false, error.message))
      asked.end()
    })
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function portOf(server: Server): number {
  return (server.address() as { port: number }).port
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
}
