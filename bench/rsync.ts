import { once } from 'node:events'
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Server } from '../e2e/fleet/fleet.ts'
import type { World } from '../e2e/world.ts'

/** Port of the application that rsync brings; it stands beside the one that dploy brings, on the same servers. */
const port = 4000

/** HAProxy's sections for it, the same as for dploy's but for the port. */
export function rsyncSections(frontend: number) {
  return (servers: readonly Server[]) => `frontend rsync-in
  bind 127.0.0.1:${frontend}
  default_backend rsync
backend rsync
  balance roundrobin
  http-request disable-l7-retry unless METH_GET
  option httpchk GET /healthz
  default-server inter 1s fall 2 rise 1
${servers.map((server) => `  server ${server.name} ${server.address}:${port} check`).join('\n')}
`
}

export interface RsyncTimes {
  /** Until every rsync and every restart has ended. Seconds. */
  commands: number
  /** Until every server answers with the new version. Seconds. */
  serving: number
}

/** What many teams have: rsync to all servers at once and a restart of the unit, over SSH. */
export class Rsync {
  readonly #world: World
  readonly #directory: string
  readonly #config: string

  private constructor(world: World, config: string) {
    this.#world = world
    this.#config = config
    this.#directory = join(world.directory, 'rsync')
  }

  /** `config`: the configuration for ssh. */
  static async prepare(world: World, config = world.fleet.sshConfig): Promise<Rsync> {
    const rsync = new Rsync(world, config)
    mkdirSync(rsync.#directory)
    writeFileSync(join(rsync.#directory, 'server.mjs'), readFileSync(join(world.repository, 'server.mjs')))
    await Promise.all(
      world.servers.map(async (server) => {
        await server.write(
          '/etc/systemd/system/rsync-shop.service',
          `[Service]
WorkingDirectory=/srv/rsync
ExecStart=/opt/dploy/node server.mjs
Environment=PORT=${port} DPLOY_RELEASE=rsync DPLOY_SERVER=${server.name}
Restart=always
[Unit]
StartLimitIntervalSec=0
`,
        )
        await server.mustExec('mkdir', ['-p', '/srv/rsync'])
      }),
    )
    await rsync.deploy('first', { connections: 'new' })
    return rsync
  }

  /** `connections`: a new one for each command, or one per server that is open already (ControlMaster). */
  async deploy(version: string, options: { connections: 'new' | 'open' }): Promise<RsyncTimes> {
    writeFileSync(join(this.#directory, 'version.txt'), `${version}\n`)
    const ssh = options.connections === 'new' ? ['-F', this.#config, '-o', 'ControlPath=none'] : this.#multiplexed()
    if (options.connections === 'open')
      await this.#each((server) =>
        program('ssh', [...ssh, '-o', 'ControlMaster=auto', '-o', 'ControlPersist=60', server.name, 'true']),
      )
    const began = performance.now()
    await this.#each(async (server) => {
      await program('rsync', [
        '--archive',
        '--delete',
        '--rsh',
        ['ssh', ...ssh].join(' '),
        `${this.#directory}/`,
        `${server.name}:/srv/rsync/`,
      ])
      await program('ssh', [...ssh, server.name, 'systemctl', 'restart', 'rsync-shop'])
    })
    const commands = (performance.now() - began) / 1000
    await this.#each((server) =>
      until(async () => (await answer(server)).startsWith(version), `${server.name} to serve ${version}`),
    )
    const serving = (performance.now() - began) / 1000
    if (options.connections === 'open')
      await this.#each((server) => program('ssh', [...ssh, '-O', 'exit', server.name]))
    return { commands, serving }
  }

  #multiplexed(): string[] {
    return ['-F', this.#config, '-o', `ControlPath=${this.#world.directory}/%n.ssh`]
  }

  async #each(work: (server: Server) => Promise<void>): Promise<void> {
    await Promise.all(this.#world.servers.map(work))
  }
}

async function program(file: string, args: string[]): Promise<void> {
  const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: 60_000, killSignal: 'SIGKILL' })
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`${file} ${args.join(' ')} ended with ${code}: ${stderr}`)
}

async function answer(server: Server): Promise<string> {
  const response = await fetch(`http://${server.address}:${port}/`, {
    signal: AbortSignal.timeout(2_000),
    headers: { connection: 'close' },
  }).catch(() => null)
  return response === null ? '' : response.text()
}

async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + 60_000
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited 60 s for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
