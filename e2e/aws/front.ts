import { createServer, request as httpRequest, type Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { Pool } from './pool.ts'

/** The load balancer's own address: passes each request on to a target that the pool gives it. Repeats nothing, as AWS does. */
export class Front implements AsyncDisposable {
  readonly url: string
  /** Answers that were its own: no target, or a target that broke off. */
  failed = 0
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  }

  static async start(pool: Pool): Promise<Front> {
    const server = createServer({ keepAliveTimeout: 60_000 })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const front = new Front(server)
    server.on('request', (request, response) => {
      const entry = pool.next()
      const fail = (status: number) => {
        front.failed++
        if (response.headersSent) response.destroy()
        else response.writeHead(status).end()
      }
      if (!entry) return fail(503)
      const passed = httpRequest({
        host: entry.host,
        port: entry.port,
        method: request.method,
        path: request.url,
        headers: { ...request.headers, connection: 'close' },
        agent: false,
      })
      passed.once('socket', (socket) => {
        entry.sockets.add(socket)
        socket.once('close', () => entry.sockets.delete(socket))
      })
      passed.once('response', (answer) => {
        const { connection: _, ...headers } = answer.headers
        response.writeHead(answer.statusCode!, headers)
        answer.pipe(response)
        answer.once('error', () => fail(502))
      })
      passed.once('error', () => fail(502))
      request.pipe(passed)
    })
    return front
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve))
  }
}
