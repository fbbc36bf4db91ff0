import { join } from 'node:path'
import pino, { type Logger } from 'pino'
import { openBalancer as openDriver } from '../balancers/registry.ts'
import { serveApi } from './api/server.ts'
import type { PagesDirectory } from './api/pages.ts'
import { makeHandlers } from './api/handlers.ts'
import { Artifacts } from './artifacts/artifacts.ts'
import { Collection } from './artifacts/collection.ts'
import { CommandRuns } from './commands/command-runs.ts'
import { FileCopies } from './commands/file-copies.ts'
import { makeDataDirectory } from './data-directory.ts'
import { lockData } from './data-lock.ts'
import { Converger } from './deploy/keepers/converger.ts'
import { Deployer } from './deploy/run/deployer.ts'
import { holderOfThisProcess } from './deploy/lock/holder.ts'
import { OutKeeper } from './deploy/keepers/out-keeper.ts'
import { PortKeeper } from './deploy/keepers/port-keeper.ts'
import { SharedLocks } from './deploy/lock/shared-lock.ts'
import { Gateway } from './gateway/gateway.ts'
import { SshReach, type Expected } from './gateway/ssh-reach.ts'
import { Upgrader } from './gateway/upgrader.ts'
import { agentBundle } from '../ssh/agent-bundle.ts'
import { controlKey } from './key.ts'
import { Guesses } from './people/guesses.ts'
import { Measured } from './metrics/measured.ts'
import { GoneServers } from './notify/gone-servers.ts'
import { Notifier } from './notify/notifier.ts'
import { measure } from './receipt/measure.ts'
import { SecretBox } from './secrets/secret-box.ts'
import { openSqlite } from './store/sqlite.ts'
import { openStore } from './store/store.ts'
import { Refusals } from './refusals.ts'
import { Vitals } from './vitals/vitals.ts'
import { Receiver } from './webhooks/receiver.ts'
import type { BalancerConfig } from '../protocol/config/config.ts'
import { version } from '../protocol/product-version.ts'
import type { Ssh } from '../ssh/ssh.ts'

export interface ControlPlaneOptions {
  /** Directory in which everything is kept. */
  data: string
  /** Where agents and clients with a token connect; without it only the socket serves. */
  tcp?: { host: string; port: number } | undefined
  /** Where servers and people reach it, if not at `tcp`: `https://dploy.example.org`. */
  publicUrl?: string | undefined
  /** Unix socket for this machine's user. */
  socket?: string | undefined
  /** Refuse to start beside another that serves from the same data. */
  exclusive?: boolean | undefined
  /** Where the built pages are; without it none are served. */
  pages?: PagesDirectory | undefined
  /** Reach servers by ssh, instead of waiting for their agents to dial in. */
  ssh?: Ssh | undefined
  /** What will be asked for in a moment, by ssh. */
  expected?: Expected | undefined
  /** Show /metrics to everybody, not only to who may read everything. */
  metricsOpen?: boolean | undefined
  /** How long a new version of an agent has to come back before the one before is put back. Seconds; by default 60. */
  agentTrial?: number | undefined
  /** How long a request may take to come. Seconds; by default 15. */
  requestSeconds?: number | undefined
  log?: { level: 'silent' | 'info' | 'debug' } | undefined
}

export interface ControlPlane extends AsyncDisposable {
  url: string | null
  /** The first API token, made now; null if there has been one. */
  firstToken(): Promise<string | null>
  /** A one-use link that makes the first administrator, valid for a day; null if there is one. */
  setupLink(): Promise<string | null>
  /** A join token for one server, valid for an hour. */
  joinToken(): Promise<string>
}

/** How often deployments that a dead process left behind are looked for. Milliseconds. */
const recoverEvery = 5_000

/** Starts a control plane: the one place that names its store, drivers, clock and log. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  makeDataDirectory(options.data)
  const log: Logger = pino({ level: options.log?.level ?? 'silent', base: null }, pino.destination(2))
  await using cleanup = new AsyncDisposableStack()
  if (options.exclusive) cleanup.use(lockData(options.data))
  const box = SecretBox.open(options.data)
  const store = cleanup.use(await openStore(openSqlite(join(options.data, 'dploy.db')), box))
  const artifacts = cleanup.use(new Artifacts(options.data))
  const key = controlKey(options.data)
  const refusals = cleanup.use(new Refusals(log))
  const gateway = new Gateway({ store, key, objects: artifacts, refusals, log })
  const vitals = new Vitals()
  gateway.onReport = (serverId, machine) => vitals.add(serverId, machine, Date.now())
  const openBalancer = (config: BalancerConfig) =>
    openDriver(config, async (name) => (await store.servers.named(name))?.facts ?? null)
  const address: { url: string | null } = { url: null }
  const notifier = cleanup.use(
    new Notifier({
      store,
      log,
      brief: options.ssh !== undefined,
      pageOf: (number) => pageOf(options.publicUrl ?? address.url, number),
    }),
  )
  const reach = options.ssh ? cleanup.use(new SshReach({ ssh: cleanup.use(options.ssh), store, gateway })) : null
  if (reach && options.expected)
    void reach
      .ahead(options.expected)
      .catch((error: unknown) => log.warn({ err: error }, 'nothing was connected ahead'))
  const holder = holderOfThisProcess()
  const shared = new SharedLocks({
    store,
    links: reach
      ? (environment, signal, only) => reach.links(environment, signal, only)
      : (environment, _, only) => gateway.linksOf(environment.id, only ?? null),
    holder,
    from: reach ? 'laptop' : 'control',
  })
  const deployer = new Deployer(
    { store, servers: reach ?? gateway, shared, artifacts, openBalancer, log, holder },
    measure,
  )
  const converger = cleanup.use(new Converger({ store, gateway, deployer, shared, log, stays: !reach }))
  // Through ssh, what a person did not ask for is not done.
  const upgrader = reach
    ? null
    : cleanup.use(new Upgrader({ store, gateway, bundle: agentBundle, trialSeconds: options.agentTrial ?? 60, log }))
  if (!reach) {
    gateway.onMember = (id) => converger.look(id)
    gateway.onConnect = (link) => {
      converger.look(link.server.id)
      upgrader?.arrived(link)
    }
  }
  // One that comes and goes with a command may be beside another.
  const collection = options.exclusive ? cleanup.use(new Collection({ store, artifacts, log })) : null
  deployer.onEnd = (id) => {
    converger.after(id)
    collection?.after()
  }
  // One that comes and goes with a command has nothing to keep.
  if (options.exclusive && !reach) cleanup.use(new PortKeeper({ store, gateway, openBalancer, log }))
  if (options.exclusive && !reach) cleanup.use(new OutKeeper({ store, openBalancer, log }))
  if (options.exclusive && !reach) cleanup.use(new GoneServers({ store, gateway, notifier, log }))
  cleanup.defer(() => gateway.close())
  cleanup.defer(() => options.ssh?.part())
  cleanup.defer(() => converger.settled())
  cleanup.defer(() => deployer.stop())
  const receiver = cleanup.use(new Receiver({ store, deployer, log }))
  const context = {
    sshConfig: options.ssh?.configFile ?? null,
    store,
    gateway,
    shared,
    deployer,
    converger,
    commands: new CommandRuns(store, gateway),
    copies: new FileCopies(store, gateway),
    artifacts,
    upgradeProblem: (id: string) => upgrader?.problem(id) ?? null,
    guesses: new Guesses(),
    receiver,
    notifier,
    openBalancer,
    pages: options.pages ?? null,
    controlKey: key.publicKey,
    badgeToken: (id: string) => box.mark(`badge:${id}`),
    address,
    publicUrl: options.publicUrl ?? null,
    version: version(),
    measured: cleanup.use(new Measured()),
    vitals,
    closing: false,
    metricsOpen: options.metricsOpen ?? false,
    requestSeconds: options.requestSeconds ?? 15,
    refusals,
    log,
  }
  const api = cleanup.use(await serveApi(context, makeHandlers(context), { tcp: options.tcp, socket: options.socket }))
  await deployer.recover()
  // A command that comes and goes starts nothing that nobody asked it for.
  if (!reach) receiver.work()
  notifier.start()
  const recovery = setInterval(
    () => void deployer.recover().catch((error: unknown) => log.error({ err: error }, 'recovery failed')),
    recoverEvery,
  )
  recovery.unref()
  cleanup.defer(() => clearInterval(recovery))
  const whole = cleanup.move()
  return {
    url: api.url,
    async firstToken() {
      return (await store.tokens.hasApiToken())
        ? null
        : store.tokens.create('api', 'first token', { uses: null, expires: null }, Date.now())
    },
    async setupLink() {
      return (await store.people.hasAdministrator())
        ? null
        : `${context.address.url ?? ''}/setup#${await store.links.create('setup', null, Date.now() + 24 * 3_600_000)}`
    },
    joinToken: () =>
      store.tokens.create('join', 'printed by dploy serve', { uses: 1, expires: Date.now() + 3_600_000 }, Date.now()),
    [Symbol.asyncDispose]: () => whole.disposeAsync(),
  }
}

/** The page of a deployment; null where its address would lead to the reader's own machine. */
function pageOf(base: string | null, deployment: number): string | null {
  return base === null || /^https?:\/\/(?:127\.|localhost|\[::1\])/.test(base)
    ? null
    : `${base.replace(/\/+$/, '')}/deployments/${deployment}`
}
