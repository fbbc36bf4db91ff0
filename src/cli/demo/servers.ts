import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { mkdir } from 'node:fs/promises'
import type { Client } from '../../client/client.ts'
import type { Children } from './children.ts'

export interface DemoServer {
  name: string
  port: number
  root: string
  log: string
}

/** Below what Linux gives to connections of its own (ip_local_port_range): a port there stays free until it is taken up. */
const lowest = 20_000
const highest = 32_000

/** Ports that are free now, one for each server. */
export async function freePorts(count: number): Promise<number[]> {
  const held: { port: number; server: Server }[] = []
  while (held.length < count) {
    const port = lowest + Math.floor(Math.random() * (highest - lowest))
    const server = createServer()
    const isFree = await new Promise<boolean>((resolve) =>
      server.once('error', () => resolve(false)).listen({ port, exclusive: true }, () => resolve(true)),
    )
    if (isFree) held.push({ port, server })
  }
  await Promise.all(held.map(({ server }) => new Promise((resolve) => server.close(resolve))))
  return held.map(({ port }) => port)
}

/** Starts an agent per server, each in a directory of its own; they join and connect by themselves. */
export async function startServers(
  children: Children,
  client: Client,
  options: { directory: string; control: string; servers: { name: string; port: number }[] },
): Promise<DemoServer[]> {
  const { token } = await client.call('createJoinToken', { body: { note: 'demo', uses: options.servers.length } })
  return Promise.all(
    options.servers.map(async ({ name, port }) => {
      const root = join(options.directory, name)
      const log = join(options.directory, `${name}.log`)
      await mkdir(root, { recursive: true })
      children.start(`agent of ${name}`, {
        module: new URL('../../agent/main.ts', import.meta.url),
        args: [
          'run',
          '--name',
          name,
          '--state',
          join(root, 'var/lib/dploy'),
          '--root',
          root,
          '--join',
          options.control,
          '--tethered',
        ],
        env: { DPLOY_JOIN_TOKEN: token },
        log,
      })
      return { name, port, root, log }
    }),
  )
}
