import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { DployError } from '../../protocol/errors.ts'
import { AdminApi } from './admin-api.ts'
import { top } from './routes.ts'

export interface CaddyFixture {
  directory: string
  /** `HOST:PORT` on which it takes requests. */
  bind: string
  /** Address of its admin API, as in dploy.yml. */
  admin: string
  /** The `@id` of the handler. */
  id: string
  servers: readonly { address: string; port: number }[]
}

/** A Caddy of one's own, for tests. */
export interface RunningCaddy extends AsyncDisposable {
  url: string
  configFile: string
  /** Loads the configuration file again, as `systemctl reload caddy` does. */
  reload(): Promise<void>
}

/** Where Caddy is installed; null if it is not. */
export function caddyBinary(): string | null {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/bin', '/usr/local/bin']
  return directories.map((directory) => join(directory, 'caddy')).find(existsSync) ?? null
}

/** Starts Caddy and resolves when its admin API answers. */
export async function startCaddy(options: CaddyFixture): Promise<RunningCaddy> {
  const binary = caddyBinary()
  if (binary === null)
    throw new DployError('balancer.unreachable', 'Caddy is not installed', { fix: 'On Debian: apt-get install caddy' })
  const configFile = join(options.directory, 'caddy.json')
  await writeFile(configFile, JSON.stringify(caddyConfig(options), null, 2))
  const env = {
    PATH: process.env.PATH ?? '',
    HOME: options.directory,
    XDG_DATA_HOME: options.directory,
    XDG_CONFIG_HOME: options.directory,
  }
  const child = spawn(binary, ['run', '--config', configFile], { env, stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString('utf8')).slice(-4_000)))
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const dispose = async () => {
    // Not gracefully: a test that failed may have left a request in flight.
    child.kill('SIGKILL')
    await exited
  }
  const api = new AdminApi(options.admin)
  const end = performance.now() + 10_000
  while ((await api.get(top, AbortSignal.timeout(1_000)).catch(() => null)) === null) {
    if (child.exitCode !== null || performance.now() > end) {
      await dispose()
      throw new DployError('balancer.unreachable', `Caddy did not start:\n${said.trim()}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return {
    url: `http://${options.bind}`,
    configFile,
    async reload() {
      const loading = spawn(binary, ['reload', '--force', '--config', configFile], { env, stdio: 'ignore' })
      const code = await new Promise((resolve) => loading.once('exit', resolve))
      if (code !== 0) throw new Error(`caddy reload ended with ${code}: ${said}`)
    },
    [Symbol.asyncDispose]: dispose,
  }
}

function caddyConfig({ bind, admin, id, servers, directory }: CaddyFixture): unknown {
  const proxy = {
    '@id': id,
    handler: 'reverse_proxy',
    upstreams: servers.map(({ address, port }) => ({ dial: `${address}:${port}` })),
    // An upstream whose connection is refused: another one gets the request.
    load_balancing: { selection_policy: { policy: 'round_robin' }, retries: 2 },
  }
  return {
    admin: {
      listen: admin.startsWith('unix:') ? `unix/${admin.slice(5)}` : admin.slice(4),
      config: { persist: false },
    },
    storage: { module: 'file_system', root: directory },
    apps: {
      http: {
        servers: {
          srv0: {
            listen: [bind],
            automatic_https: { disable: true },
            routes: [{ handle: [{ handler: 'subroute', routes: [{ handle: [proxy] }] }] }],
          },
        },
      },
    },
  }
}
