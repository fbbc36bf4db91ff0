import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { caddyBinary, startCaddy } from '../../src/balancers/caddy/fixture.ts'
import { nginxBinary, startNginx } from '../../src/balancers/nginx/fixture.ts'
import { freePorts, World, type WorldOptions } from '../world.ts'

/** A team whose deployments nobody should notice: servers with an application that has everything, and what stands before them. */
export interface Team extends AsyncDisposable {
  world: World
  /** Where users ask. */
  url: string
}

/** One way to deploy that is measured: a row of the table. */
export interface Way {
  name: string
  /** Why it cannot be measured here; null if it can. */
  missing(): string | null
  open(): Promise<Team>
  /** Whether its balancer, by its own documents, ends WebSockets whenever its configuration changes. */
  endsSockets?: boolean
  /** Whether the old release ends some time after the switch, and tells its WebSockets to go then. */
  endsLater?: boolean
  /** Whether it is reloaded, and ends the idle connections of users then. */
  endsConnections?: boolean
}

const application = new URL('application.mjs', import.meta.url)
const library = fileURLToPath(new URL('../../node_modules/ws', import.meta.url))
/** Slow pages take 2 s: they have to get through. What is open for longer is cut: the WebSockets. */
const drain = '2500ms'

/** Every way that is measured. To add one: its name, and how it is set up. */
export const ways: readonly Way[] = [
  { name: 'HAProxy, rolling', missing: () => null, open: () => openTeam() },
  {
    name: 'nginx, rolling',
    endsConnections: true,
    missing: () => (nginxBinary() === null ? 'nginx is not installed' : null),
    open: () =>
      openTeam(async (world, directory, port, stack) => {
        const servers = world.servers.map(({ name, address }) => ({ name, address, port: world.port }))
        const nginx = stack.use(
          await startNginx({ directory, bind: `127.0.0.1:${port}`, upstream: 'shop', servers, configure: withSockets }),
        )
        return {
          kind: 'nginx',
          upstream_file: nginx.upstreamFile,
          upstream: 'shop',
          test: nginx.test,
          reload: nginx.reload,
          pid_file: nginx.pidFile,
          check: '/healthz',
        }
      }),
  },
  {
    name: 'Caddy, rolling',
    missing: () => (caddyBinary() === null ? 'Caddy is not installed' : null),
    endsSockets: true,
    endsConnections: true,
    open: () =>
      openTeam(async (world, directory, port, stack) => {
        stack.use(migrateRequests())
        const [adminPort] = await freePorts(1)
        const admin = `tcp:127.0.0.1:${adminPort}`
        stack.use(
          await startCaddy({
            directory,
            bind: `127.0.0.1:${port}`,
            admin,
            id: 'shop',
            servers: world.servers.map(({ address }) => ({ address, port: world.port })),
          }),
        )
        const servers = Object.fromEntries(world.servers.map(({ name, address }) => [name, `${address}:${world.port}`]))
        return { kind: 'caddy', address: admin, handler: 'shop', servers, check: '/healthz' }
      }),
  },
  { name: 'HAProxy, warm by socket', endsLater: true, missing: () => null, open: () => openTeam(null, warm('socket')) },
  { name: 'HAProxy, warm by port', endsLater: true, missing: () => null, open: () => openTeam(null, warm('port')) },
  { name: 'one server, warm by socket', endsLater: true, missing: () => null, open: () => openAlone('socket') },
  { name: 'one server, warm by port', endsLater: true, missing: () => null, open: () => openAlone('port') },
]

/** As docs/caddy.md says: connections that Caddy has not accepted yet go to its next listener when it is reloaded. What was set before comes back. */
function migrateRequests(): Disposable {
  const file = '/proc/sys/net/ipv4/tcp_migrate_req'
  const before = readFileSync(file, 'utf8')
  writeFileSync(file, '1')
  return { [Symbol.dispose]: () => writeFileSync(file, before) }
}

/** Starts a balancer of its own kind, which listens on `port`; answers its part of dploy.yml. */
type StartBalancer = (
  world: World,
  directory: string,
  port: number,
  stack: AsyncDisposableStack,
) => Promise<Record<string, unknown>>

/** Four servers with the application deployed; behind HAProxy, unless another balancer is started. */
export async function openTeam(
  startBalancer: StartBalancer | null = null,
  options: Partial<WorldOptions> = {},
): Promise<Team> {
  await using stack = new AsyncDisposableStack()
  const directory = mkdtempSync(join(tmpdir(), 'dploy-balancer-'))
  stack.defer(() => rmSync(directory, { recursive: true, force: true }))
  const world = stack.use(
    await World.up({
      servers: 4,
      strategy: { batch: '50%', bake: '0s' },
      environment: { timeouts: { drain } },
      ...options,
    }),
  )
  cpSync(library, join(world.repository, 'ws'), { recursive: true })
  await world.commit({ 'server.mjs': readFileSync(application, 'utf8') }, 'Have everything')
  let url = world.url
  if (startBalancer !== null) {
    const [port] = await freePorts(1)
    url = `http://127.0.0.1:${port}/`
    mkdirSync(directory, { recursive: true })
    const balancer = await startBalancer(world, directory, port!, stack)
    await world.configure({ environment: { balancer, probe: url, timeouts: { drain } } })
  }
  const { result } = await world.dploy('deploy', 'production')
  if (result.state !== 'succeeded')
    throw new Error(`The first deployment ended as ${result.state}: ${result.failure?.message}`)
  const whole = stack.move()
  return { world, url, [Symbol.asyncDispose]: () => whole.disposeAsync() }
}

/** Releases beside each other; the old one ends some time after the switch. */
function warm(handover: 'socket' | 'port'): Partial<WorldOptions> {
  return {
    service: { handover, keep_warm: '2s', stop: { timeout: '10s' } },
    extra: { variables: { PATIENT: '1' } },
    strategy: { bake: '0s' },
  }
}

/** One server with the application deployed, which users ask without anything in between. */
async function openAlone(handover: 'socket' | 'port'): Promise<Team> {
  await using stack = new AsyncDisposableStack()
  const world = stack.use(await World.up({ servers: 1, ...warm(handover) }))
  const url = `http://${world.servers[0]!.address}:${world.port}/`
  cpSync(library, join(world.repository, 'ws'), { recursive: true })
  await world.commit({ 'server.mjs': readFileSync(application, 'utf8') }, 'Have everything')
  await world.configure({ environment: { balancer: { kind: 'none' }, probe: url } })
  const { result } = await world.dploy('deploy', 'production')
  if (result.state !== 'succeeded')
    throw new Error(`The first deployment ended as ${result.state}: ${result.failure?.message}`)
  const whole = stack.move()
  return { world, url, [Symbol.asyncDispose]: () => whole.disposeAsync() }
}

/** nginx passes WebSockets on where it is told to, and lets old workers live as long as one is open. */
function withSockets(text: string): string {
  return text
    .replace('worker_shutdown_timeout 30s', 'worker_shutdown_timeout 10m')
    .replace('access_log off;', "access_log off;\n  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }")
    .replace(
      'proxy_set_header Connection "";',
      'proxy_set_header Upgrade $http_upgrade;\n      proxy_set_header Connection $connection_upgrade;\n      proxy_read_timeout 10m;',
    )
}
