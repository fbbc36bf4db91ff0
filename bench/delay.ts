import { once } from 'node:events'
import { connect, createServer, type Server as NetServer, type Socket } from 'node:net'

/** One chunk as the client's side sees it: when it was sent, or when it arrived. Epoch milliseconds. */
export interface Passed {
  at: number
  to: 'server' | 'client'
}

/** A link with a round trip: a TCP relay that holds back every byte for half of it, in either direction, and notes what passes. */
export class DelayedLink implements AsyncDisposable {
  readonly port: number
  readonly passed: Passed[] = []
  readonly #server: NetServer
  readonly #sockets = new Set<Socket>()

  private constructor(server: NetServer) {
    this.#server = server
    this.port = (server.address() as { port: number }).port
  }

  /** A link to an address, with a round trip of so many milliseconds. */
  static async to(host: string, port: number, roundTrip: number): Promise<DelayedLink> {
    const server = createServer({ noDelay: true })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const link = new DelayedLink(server)
    server.on('connection', (client) => {
      const far = connect({ host, port, noDelay: true })
      for (const socket of [client, far])
        link.#sockets.add(socket.on('error', () => {}).once('close', () => link.#sockets.delete(socket)))
      hold(
        client,
        far,
        roundTrip / 2,
        () => link.passed.push({ at: Date.now(), to: 'server' }),
        () => {},
      )
      hold(
        far,
        client,
        roundTrip / 2,
        () => {},
        () => link.passed.push({ at: Date.now(), to: 'client' }),
      )
    })
    return link
  }

  /** How often, in this time, the client sent something and then got something back: round trips that follow each other. */
  roundTrips(from: number, to: number): number {
    let count = 0
    let waits = false
    for (const { at, to: direction } of this.passed) {
      if (at < from || at >= to) continue
      if (direction === 'server') waits = true
      else if (waits) {
        count++
        waits = false
      }
    }
    return count
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

function hold(from: Socket, to: Socket, milliseconds: number, onIn: () => void, onOut: () => void): void {
  const later = (work: () => void) => void setTimeout(work, milliseconds)
  from.on('data', (chunk) => {
    onIn()
    later(() => {
      if (to.destroyed) return
      onOut()
      to.write(chunk)
    })
  })
  from.once('end', () => later(() => to.end()))
  from.once('close', () => later(() => to.destroy()))
}
