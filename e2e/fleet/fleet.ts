import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { mustRun } from './command.ts'
import { raiseLimits } from './limits.ts'
import { makeBridge, makeServerNetwork, networkChooser } from './network.ts'
import { ownerOf } from './owner.ts'
import { baseRoot } from './root.ts'
import { claimRun, listRuns, readRun, runDirectory, saveRun, type Run } from './run.ts'
import { Server } from './server.ts'
import { sweepAbandoned, sweepRun } from './sweep.ts'

export { unavailable } from './availability.ts'
export { Server } from './server.ts'

export interface FleetOptions {
  /** How many. They are named web1, web2 … */
  servers: number
  /** Read-only paths of the host on each server: by the path there, the path here. */
  bind?: Record<string, string>
  /** For people, in `bin/fleet list`. */
  name?: string
  /** Lines for each server's sshd_config; the defaults of Debian without. */
  sshd?: string[]
  /** Whether it stays when this process ends, until `bin/fleet down`. */
  stays?: boolean
  log?: (line: string) => void
}

/** Real servers on this machine: `await using fleet = await Fleet.up({ servers: 8 })`. Gone when disposed, or when this process ends in whatever way. */
export class Fleet {
  readonly servers: Server[]
  /** The host's address in the fleet's network; servers know it as `control`. */
  readonly hostAddress: string
  /** An ssh_config with all servers: `ssh -F sshConfig web1`. */
  readonly sshConfig: string
  /** Seconds that bringing it up took. */
  readonly seconds: number
  readonly number: number
  readonly #watchdog: ChildProcess | undefined

  private constructor(run: Run, servers: Server[], watchdog: ChildProcess | undefined, seconds: number) {
    this.number = run.number
    this.servers = servers
    this.hostAddress = `${run.network}.1`
    this.sshConfig = join(runDirectory(run.number), 'ssh', 'config')
    this.seconds = seconds
    this.#watchdog = watchdog
  }

  /** Boots the servers, some at a time, and waits until each runs and answers ssh. On an error nothing is left. */
  static async up(options: FleetOptions): Promise<Fleet> {
    const { servers: count, bind = {}, name = 'fleet', sshd = [], stays = false, log = () => {} } = options
    if (count < 1 || count > 200) throw new Error(`A fleet has 1 to 200 servers, not ${count}`)
    for (const abandoned of await sweepAbandoned())
      log(`removed what was left of ${abandoned.name} (${abandoned.number})`)
    const base = await baseRoot(log)
    const started = performance.now()
    const run = claimRun(name, stays ? undefined : ownerOf(process.pid), await networkChooser())
    const watchdog = stays ? undefined : watch(run)
    try {
      run.servers = Array.from({ length: count }, (_, index) => ({
        name: `web${index + 1}`,
        address: `${run.network}.${index + 11}`,
        process: undefined,
      }))
      writeFileSync(join(runDirectory(run.number), 'options.json'), JSON.stringify({ base, bind, sshd }))
      saveRun(run)
      const servers = run.servers.map((state) => new Server(run, state, { base, bind, sshd }))
      raiseLimits(listRuns().reduce((sum, one) => sum + one.servers.length, 0))
      await makeKeys(run, servers)
      await makeBridge(run)
      await inParallel(availableParallelism() * 2, servers, async (server, index) => {
        await makeServerNetwork(run, run.servers[index]!)
        const began = performance.now()
        await server.boot()
        log(`${server.name} ${server.address} runs after ${((performance.now() - began) / 1000).toFixed(2)} s`)
      })
      const seconds = (performance.now() - started) / 1000
      log(`${count} servers in ${seconds.toFixed(2)} s`)
      return new Fleet(run, servers, watchdog, seconds)
    } catch (error) {
      await sweepRun(run.number)
      await dismiss(watchdog)
      throw error
    }
  }

  /** A fleet that another process brought up and that stays. Disposing of it takes it down all the same: don't, to only use it. */
  static attach(number: number): Fleet {
    const run = readRun(number)
    if (!run) throw new Error(`There is no fleet ${number}. Run: bin/fleet list`)
    const options = JSON.parse(readFileSync(join(runDirectory(number), 'options.json'), 'utf8')) as {
      base: string
      bind: Record<string, string>
      sshd: string[]
    }
    return new Fleet(
      run,
      run.servers.map((state) => new Server(run, state, options)),
      undefined,
      0,
    )
  }

  /** The server of this name. */
  server(name: string): Server {
    const server = this.servers.find((one) => one.name === name)
    if (!server)
      throw new Error(`The fleet has no server ${name}; it has ${this.servers.map((one) => one.name).join(', ')}`)
    return server
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await sweepRun(this.number)
    await dismiss(this.#watchdog)
  }
}

/** Starts the process that takes the fleet down if this one cannot. In a session of its own: what ends this one's group does not reach it. */
function watch(run: Run): ChildProcess {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'watchdog.ts'), String(run.number)], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  child.unref()
  // An idle pipe must not keep this process from ending.
  const input = child.stdin as unknown as { unref(): void }
  input.unref()
  return child
}

async function dismiss(watchdog: ChildProcess | undefined): Promise<void> {
  if (!watchdog || watchdog.exitCode !== null || watchdog.signalCode !== null) return
  const ended = once(watchdog, 'exit')
  watchdog.ref()
  watchdog.stdin?.end()
  await ended
}

/** A key for the person, one for each server, and what ssh needs to find and trust them. */
async function makeKeys(run: Run, servers: Server[]): Promise<void> {
  const directory = join(runDirectory(run.number), 'ssh')
  mkdirSync(directory, { mode: 0o700 })
  chmodSync(directory, 0o700)
  const make = (name: string, comment: string): Promise<string> =>
    mustRun('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', comment, '-f', join(directory, name)])
  await make('id_ed25519', 'fleet')
  await inParallel(4, servers, (server) => make(`${server.name}.host`, server.name))
  const known = servers.map(
    (server) => `${server.address},${server.name} ${readFileSync(join(directory, `${server.name}.host.pub`), 'utf8')}`,
  )
  writeFileSync(join(directory, 'known_hosts'), known.join(''))
  const blocks = servers.map(({ name, address, ssh }) =>
    [
      `Host ${name} ${address}`,
      `HostName ${address}`,
      `User ${ssh.user}`,
      `IdentityFile ${ssh.identityFile}`,
      'IdentitiesOnly yes',
      'IdentityAgent none',
      `UserKnownHostsFile ${ssh.knownHostsFile}`,
      'GlobalKnownHostsFile none',
      'StrictHostKeyChecking yes',
      'BatchMode yes',
      '',
    ].join('\n'),
  )
  writeFileSync(join(directory, 'config'), blocks.join('\n'))
}

/** Runs `work` for each item, at most `limit` at a time. The first error ends it once what is under way has settled. */
async function inParallel<T>(
  limit: number,
  items: readonly T[],
  work: (item: T, index: number) => Promise<unknown>,
): Promise<void> {
  let next = 0
  let failed = false
  const results = await Promise.allSettled(
    Array.from({ length: Math.min(limit, items.length) }, async () => {
      while (next < items.length && !failed) {
        const index = next++
        try {
          await work(items[index]!, index)
        } catch (error) {
          failed = true
          throw error
        }
      }
    }),
  )
  for (const result of results) if (result.status === 'rejected') throw result.reason
}
