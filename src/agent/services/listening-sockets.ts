import { spawn } from 'node:child_process'
import net from 'node:net'
import type { KeptSocket } from './keeper-messages.ts'

/** Connections that the kernel keeps while nobody accepts them (listen(2); it takes at most net.core.somaxconn). */
const backlog = 4096

/** What `net` makes inside of every server: a bound socket, by its descriptor. */
interface Handle {
  readonly fd: number
  close(): void
}

/** The listening sockets that a keeper holds, so that they outlive every process that accepts on them. */
export class ListeningSockets {
  readonly #held = new Map<string, Handle>()

  /** Makes those that are missing. Throws with the address where one is taken. */
  async hold(sockets: readonly KeptSocket[]): Promise<void> {
    for (const socket of sockets) {
      const name = nameOf(socket)
      if (this.#held.has(name)) continue
      const handle = bind(socket)
      try {
        await listen(handle.fd)
      } catch (error) {
        handle.close()
        throw error
      }
      this.#held.set(name, handle)
    }
  }

  descriptor(socket: KeptSocket): number | null {
    return this.#held.get(nameOf(socket))?.fd ?? null
  }

  get ports(): number[] {
    return [...this.#held.keys()].map((name) => Number(name.split('/')[1]))
  }

  /** Closes those that nobody needs. */
  keepOnly(needed: readonly KeptSocket[]): void {
    const names = new Set(needed.map(nameOf))
    for (const [name, handle] of this.#held) {
      if (names.has(name)) continue
      handle.close()
      this.#held.delete(name)
    }
  }
}

function nameOf({ host, port }: KeptSocket): string {
  return `${host ?? '*'}/${port}`
}

/**
 * Binds without listening. `net` has no public way to do so that does not also accept, and a keeper that accepts takes
 * connections away from the service; `cluster` uses this one.
 */
function bind({ host, port }: KeptSocket): Handle {
  const make = (
    net as unknown as {
      _createServerHandle(host: string, port: number, type: 4 | 6, descriptor?: number, flags?: number): Handle | number
    }
  )._createServerHandle
  const tries: [string, 4 | 6][] =
    host === null
      ? [
          ['::', 6],
          ['0.0.0.0', 4],
        ]
      : [[host, 4]]
  let code = 0
  for (const [address, type] of tries) {
    const made = make(address, port, type, undefined, 0)
    if (typeof made === 'object') return made
    code = made
  }
  throw new Error(`cannot listen on port ${port}: ${errorName(code)}`)
}

function errorName(code: number): string {
  return code === -98
    ? 'the address is in use'
    : code === -13
      ? 'not allowed (ports below 1024 need root)'
      : `error ${-code}`
}

/** A socket listens for whoever shares it: a child of ours says so (listen(2)) and ends before it could accept anything. */
function listen(descriptor: number): Promise<void> {
  const script = `require('node:net').createServer().listen({ fd: 3, backlog: ${backlog} }, () => process.exit(0))`
  return new Promise<void>((resolve, reject) => {
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'ignore', 'pipe', descriptor], env: {} })
    let printed = ''
    child.stderr!.on('data', (chunk: Buffer) => (printed += chunk.toString()))
    child.once('error', reject)
    child.once('exit', (code) =>
      code === 0 ? resolve() : reject(new Error(`cannot listen: ${printed.trim().split('\n').slice(0, 5).join(' ')}`)),
    )
  })
}
