import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'

export interface Received {
  method: string
  path: string
  headers: IncomingHttpHeaders
  body: string
}

/** A program that is told of deployments: keeps what comes, and answers as it is told. */
export class HttpReceiver implements AsyncDisposable {
  readonly received: Received[] = []
  /** Answers to the next requests; after them 204. */
  readonly answers: { status: number; headers?: Record<string, string>; body?: string }[] = []
  readonly #server: Server

  private constructor() {
    this.#server = createServer((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => (body += chunk.toString()))
      request.on('end', () => {
        this.received.push({ method: request.method!, path: request.url!, headers: request.headers, body })
        const { status, headers = {}, body: answer = '' } = this.answers.shift() ?? { status: 204 }
        response.writeHead(status, headers).end(answer)
      })
    })
  }

  static async up(): Promise<HttpReceiver> {
    const receiver = new HttpReceiver()
    receiver.#server.listen(0, '127.0.0.1')
    await once(receiver.#server, 'listening')
    return receiver
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
