import { Agent, fetch as undiciFetch } from 'undici'
import { Client } from '../client/client.ts'
import type { Connection } from './connect.ts'

/** A client over a unix socket, which only its owner can open. */
export function overSocket(path: string): Connection {
  const dispatcher = new Agent({ connect: { socketPath: path }, headersTimeout: 0, bodyTimeout: 0 })
  const socketFetch = ((input: string | URL, init?: object) => undiciFetch(input, { ...init, dispatcher })) as unknown as typeof fetch
  return {
    client: new Client({ url: 'http://localhost', fetch: socketFetch }),
    embedded: false,
    async [Symbol.asyncDispose]() {
      await dispatcher.destroy()
    },
  }
}
