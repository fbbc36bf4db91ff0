import { createServer } from 'node:net'
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

/** Ports that are free now, one for each server. */
export async function freePorts(count: number): Promise<number[]> {
  const held = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer()
      return new Promise<typeof server>((resolve, reject) => {
        server.once('error', reject)
        server.listen(0, '127.0.0.1', () => resolve(server))
      })
    }),
  )
  const ports = held.map((server) => (server.address() as { port: number }).port)
  await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

/** Starts an agent per server, each in a directory of its own; they join and connect by themselves. */
export async function startServers(children: Children, client: Client, options: { directory: string; control: string; servers: { name: string; port: number }[] }): Promise<DemoServer[]> {
  const { token } = await client.call('createJoinToken', { body: { note: 'demo', uses: options.servers.length } })
  return Promise.all(
    options.servers.map(async ({ name, port }) => {
      const root = join(options.directory, name)
      const log = join(options.directory, `${name}.log`)
      await mkdir(root, { recursive: true })
      children.start(`agent of ${name}`, {
        module: new URL('../../agent/main.ts', import.meta.url),
        args: ['run', '--name', name, '--state', join(root, 'var/lib/dploy'), '--root', root, '--join', options.control, '--tethered'],
        env: { DPLOY_JOIN_TOKEN: token },
        log,
      })
      return { name, port, root, log }
    }),
  )
}
