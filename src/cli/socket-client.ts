import { Agent, request, type IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { Client } from '../client/client.ts'
import type { Connection } from './connect.ts'

/** A client over a unix socket, which only its owner can open. */
export function overSocket(path: string): Connection {
  const agent = new Agent({ keepAlive: true })
  return {
    client: new Client({ url: 'http://localhost', fetch: fetchOver(path, agent) }),
    embedded: false,
    async [Symbol.asyncDispose]() {
      agent.destroy()
    },
  }
}

/** As much of fetch as the client needs. By Node's own HTTP: who starts a control plane has it loaded, and fetch takes as long to load as that. */
function fetchOver(socketPath: string, agent: Agent): typeof fetch {
  const ask = (
    url: URL,
    {
      method,
      headers,
      body,
      signal,
    }: {
      method: string
      headers: Record<string, string>
      body?: string | ReadableStream<Uint8Array>
      signal?: AbortSignal
    },
  ) =>
    new Promise<object>((resolve, reject) => {
      const asked = request({
        socketPath,
        agent,
        method,
        path: `${url.pathname}${url.search}`,
        headers: { host: url.host, ...headers },
        signal,
      })
      asked.once('error', reject)
      asked.once('response', (response) => resolve(answerOf(response)))
      if (body === undefined || typeof body === 'string') asked.end(body)
      else
        Readable.fromWeb(body)
          .once('error', (error) => asked.destroy(error))
          .pipe(asked)
    })
  return ask as unknown as typeof fetch
}

function answerOf(response: IncomingMessage) {
  const status = response.statusCode!
  return {
    status,
    ok: status >= 200 && status < 300,
    get body() {
      return Readable.toWeb(response)
    },
    async json() {
      const parts: Buffer[] = []
      for await (const part of response) parts.push(part as Buffer)
      return JSON.parse(Buffer.concat(parts).toString('utf8')) as unknown
    },
  }
}
