import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { randomUUID } from 'node:crypto'
import type { AddressInfo } from 'node:net'

/**
 * The instance metadata service, version 2: a token is got by PUT, and every other question needs one. One service for
 * many instances: `instanceOf` tells by the address that asks.
 */
export class Metadata implements AsyncDisposable {
  readonly url: string
  /** Questions without a valid token. */
  refused = 0
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
    const { address, port } = server.address() as AddressInfo
    this.url = `http://${address}:${port}`
  }

  static async start(host: string, instanceOf: (address: string) => string | undefined): Promise<Metadata> {
    const tokens = new Set<string>()
    const server = createServer()
    server.listen(0, host)
    await once(server, 'listening')
    const metadata = new Metadata(server)
    server.on('request', (request, response) => {
      if (request.url === '/latest/api/token') {
        const seconds = Number(request.headers['x-aws-ec2-metadata-token-ttl-seconds'])
        if (request.method !== 'PUT') return void response.writeHead(405).end()
        if (!(seconds >= 1 && seconds <= 21_600) || request.headers['x-forwarded-for'] !== undefined)
          return void response.writeHead(400).end()
        const token = randomUUID()
        tokens.add(token)
        return void response.end(token)
      }
      if (!tokens.has(String(request.headers['x-aws-ec2-metadata-token']))) {
        metadata.refused++
        return void response.writeHead(401).end()
      }
      const id = instanceOf(request.socket.remoteAddress ?? '')
      if (request.url !== '/latest/meta-data/instance-id' || id === undefined) return void response.writeHead(404).end()
      response.end(id)
    })
    return metadata
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
