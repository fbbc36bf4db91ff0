import './plain-zod.ts'
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { DployError } from '../protocol/errors.ts'
import { version } from '../protocol/product-version.ts'
import { Agent } from './agent.ts'
import { joinControlPlane, readIdentity, type Identity } from './identity.ts'
import { proxyFor } from './proxy.ts'
import { readInstanceId } from './instance-id.ts'
import { Journal } from './journal.ts'
import { Keeper } from './services/keeper.ts'
import { serveStandardStreams } from './stdio.ts'
import { installedAgent } from './upgrade.ts'

const usage = `dploy agent
  run     --name NAME --state DIR --root DIR [--join URL]    the token in DPLOY_JOIN_TOKEN
  join    --name NAME --state DIR --join URL                 (as run does the first time, and ends)
  stdio   --state DIR --access root|sudo|user                (started through ssh)
  keeper  DIR                                                (started by the agent itself)`

/** How a process keeper is started. */
const keeper = { file: process.execPath, args: [fileURLToPath(import.meta.url), 'keeper'] }

async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      name: { type: 'string', default: hostname() },
      state: { type: 'string', default: '/var/lib/dploy' },
      root: { type: 'string', default: '/' },
      join: { type: 'string' },
      /** Ends, with its services, when standard input does. */
      tethered: { type: 'boolean', default: false },
    },
  })
  const stateDirectory = resolve(values.state)
  const identity = readIdentity(stateDirectory) ?? (await joinOnce(stateDirectory, values))
  using journal = new Journal(stateDirectory)
  const stop = new AbortController()
  // Whoever read the log may be gone.
  process.stderr.on('error', () => {})
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort())
  if (values.tethered)
    process.stdin
      .on('end', () => stop.abort())
      .on('error', () => stop.abort())
      .resume()
  const agent = new Agent({
    identity,
    journal,
    stateDirectory,
    instanceId: await readInstanceId(),
    root: resolve(values.root),
    version: version(),
    installed: installedAgent(fileURLToPath(import.meta.url), stateDirectory),
    onUpgraded: () => stop.abort(),
    keeper,
    log,
  })
  // What speaks WebSocket is not needed by the agent that ssh carries.
  const { keepConnected } = await import('./connection.ts')
  await keepConnected({
    control: identity.control,
    proxy: proxyFor(identity.control, process.env) ?? identity.proxy ?? null,
    signal: stop.signal,
    serve: (carrier) => untilStopped(agent.serve(carrier), carrier, stop.signal),
    log,
  })
  await agent.commandsEnded()
  if (values.tethered) await agent.stopServices()
}

/** Joins and ends: what install.sh does before it starts the unit, which so needs no token. */
async function join(args: string[]): Promise<void> {
  const options = {
    name: { type: 'string', default: hostname() },
    state: { type: 'string', default: '/var/lib/dploy' },
    join: { type: 'string' },
  } as const
  const { values } = parseArgs({ args, options })
  const stateDirectory = resolve(values.state)
  if (!readIdentity(stateDirectory)) await joinOnce(stateDirectory, values)
}

async function joinOnce(
  stateDirectory: string,
  values: { name: string; join?: string | undefined },
): Promise<Identity> {
  const token = process.env.DPLOY_JOIN_TOKEN
  if (values.join === undefined || !token) {
    throw new DployError(
      'agent.join_refused',
      `This agent has not joined a control plane yet (no identity in ${stateDirectory})`,
      { fix: 'Start it once with --join URL and DPLOY_JOIN_TOKEN' },
    )
  }
  const identity = await joinControlPlane({ stateDirectory, control: values.join, token, name: values.name })
  log(`joined ${identity.control} as ${identity.name}`)
  return identity
}

async function untilStopped(
  closed: Promise<string>,
  carrier: { close(reason: string): void },
  signal: AbortSignal,
): Promise<string> {
  const stop = () => carrier.close('the agent stops')
  signal.addEventListener('abort', stop, { once: true })
  try {
    return await closed
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

function log(text: string): void {
  process.stderr.write(`${new Date().toISOString()} ${text}\n`)
}

async function main(): Promise<void> {
  const [command, ...args] = process.argv.slice(2)
  delete process.env.NODE_COMPILE_CACHE
  // Releases are for every user of the machine, whoever started the agent and how; what is secret says so itself.
  process.umask(0o022)
  if (command === 'run') return run(args)
  if (command === 'join') return join(args)
  if (command === 'stdio') return serveStandardStreams(args, { keeper, log })
  if (command === 'keeper' && args[0] !== undefined) return new Keeper(args[0]).run()
  process.stderr.write(`${usage}\n`)
  process.exitCode = 2
}

if (import.meta.main) {
  try {
    await main()
    process.exit(process.exitCode ?? 0)
  } catch (error) {
    const report =
      error instanceof DployError ? `${error.message}\n  next: ${error.fix}` : String((error as Error).stack)
    process.stderr.write(`dploy agent: ${report}\n`)
    process.exit(1)
  }
}
