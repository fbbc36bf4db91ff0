import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate } from 'node:timers/promises'

/** A server for the contract suite: real HTTP on loopback. `/hold` is answered when the test says so, all else at once, with its name. */
export class Backend implements AsyncDisposable {
  readonly name: string
  readonly address = '127.0.0.1'
  port = 0
  /** Requests other than health checks, since it was made. */
  requests = 0
  /** What `/healthz` says. */
  healthy = true
  #server: Server | null = null
  #held: (() => void)[] = []
  #onHeld: (() => void)[] = []

  private constructor(name: string) {
    this.name = name
  }

  static async start(name: string): Promise<Backend> {
    const backend = new Backend(name)
    await backend.start()
    return backend
  }

  /** Listens; after `stop`, on the same port again. */
  async start(): Promise<void> {
    this.#server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      if (request.url === '/healthz') return void response.writeHead(this.healthy ? 200 : 503).end()
      this.requests++
      if (request.url === '/error') return void response.writeHead(500).end(this.name)
      if (request.url !== '/hold') return void response.end(this.name)
      this.#held.push(() => response.end(this.name))
      for (const tell of this.#onHeld.splice(0)) tell()
    })
    this.#server.listen(this.port, this.address)
    await once(this.#server, 'listening')
    this.port = (this.#server.address() as AddressInfo).port
  }

  /** Ends at once, as a killed process: what is in flight is cut. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = null
    if (!server) return
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }

  /** Ends as a service that finishes its requests first. */
  async stopGracefully(): Promise<void> {
    const server = this.#server
    this.#server = null
    if (!server) return
    // What the kernel has taken for it already is accepted first: closing would reset it.
    for (let turn = 0; turn < 2; turn++) await setImmediate()
    const closed = once(server, 'close')
    server.close()
    server.closeIdleConnections()
    await closed
  }

  /** Resolves when a request for `/hold` waits here. */
  async holding(): Promise<void> {
    if (this.#held.length === 0) await new Promise<void>((resolve) => this.#onHeld.push(resolve))
  }

  /** Answers the requests that wait. */
  release(): void {
    for (const answer of this.#held.splice(0)) answer()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release()
    await this.stop()
  }
}
