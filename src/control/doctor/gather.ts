import { releaseDirectory } from '../../protocol/config/config.ts'
import { DployError, reportOf, type ErrorReport } from '../../protocol/errors.ts'
import type { ApiContext } from '../api/context.ts'
import { takenOverView } from '../api/environments/status.ts'
import { isIdle } from '../deploy/strategies/groups.ts'
import type { Environment, EnvironmentServer } from '../store/applications.ts'
import { keepAlivePatience } from './checks/keep-alive.ts'
import type { EnvironmentFacts, ServerFacts } from './facts.ts'

/** How long everybody has to answer, beside the time that a connection is watched. Milliseconds. */
const askTimeout = 8_000

/** Asks every server, the balancer and the store. Whatever does not answer is a fact too. Changes nothing. */
export async function gatherFacts(
  context: ApiContext,
  asked: Environment,
  signal: AbortSignal,
): Promise<EnvironmentFacts> {
  const { store } = context
  const environment = await afterLook(context, asked, signal)
  const { config } = environment
  const wanted = config.environments[environment.name]
  if (!wanted) throw new DployError('environment.unknown', `dploy.yml names no environment ${environment.name}`)
  const servers = await store.applications.servers(environment.id)
  if (servers.length === 0) throw new DployError('environment.no_servers', `${environment.name} has no servers`)
  const limit = AbortSignal.any([signal, AbortSignal.timeout(askTimeout + keepAlivePatience)])
  const [release, balancerProblem, secretsProblem, facts] = await Promise.all([
    environment.wantedRelease === null ? null : store.releases.get(environment.wantedRelease),
    problemOf(async () => {
      await using balancer = context.openBalancer(wanted.balancer)
      await balancer.check(
        servers.map((server) => server.name),
        limit,
      )
    }),
    problemOf(() =>
      store.secrets.current(
        environment.id,
        [...config.secrets, ...wanted.secrets],
        `${environment.application}/${environment.name}`,
      ),
    ),
    Promise.all(servers.map((server) => serverFacts(context, environment, server, limit))),
  ])
  return {
    application: environment.application,
    environment: environment.name,
    now: Date.now(),
    wanted: release?.number ?? null,
    takenOver: environment.takenOver && takenOverView(environment),
    asks: {
      builds: config.build.command !== undefined,
      manager: config.service?.manager ?? null,
      user: config.service?.user ?? null,
      balancer: wanted.balancer,
    },
    sshConfig: context.sshConfig,
    controlPlatform: `${process.platform}-${process.arch}`,
    balancerProblem,
    secretsProblem,
    servers: facts,
  }
}

async function serverFacts(
  context: ApiContext,
  environment: Environment,
  server: EnvironmentServer,
  signal: AbortSignal,
): Promise<ServerFacts> {
  const stored = await context.store.servers.find(server.id)
  const link = context.gateway.link(server.id)
  const base: ServerFacts = {
    name: server.name,
    address: server.address,
    joined: stored?.publicKey != null,
    connected: link !== null,
    idle: isIdle(server, environment.config.environments[environment.name], environment.liveGroup),
    lastSeenAt: stored?.lastSeenAt ?? null,
    lockedAt: stored?.lockedAt ?? null,
    clockSkew: link?.facts.clockSkew ?? null,
    diagnosis: null,
    problem: null,
  }
  if (!link) return { ...base, problem: context.gateway.problem(server).toJSON() }
  const { service } = environment.config
  const place = {
    application: environment.application,
    environment: environment.name,
    directory: releaseDirectory(environment.config, environment.name),
  }
  const options = { application: place.application, environment: place.environment, epoch: 0, signal }
  const port = server.port ?? service?.port
  const ports =
    port === undefined || !service ? [] : Array.from({ length: service.instances }, (_, index) => port + index)
  const ask = service ? { path: service.health.path, host: service.health.host ?? null } : null
  try {
    base.clockSkew = (await link.readClock(signal)).clockSkew
    const diagnosis = await link.command('diagnose', { ...place, ports, ask, patience: keepAlivePatience }, options)
    return { ...base, diagnosis }
  } catch (error) {
    return { ...base, problem: reportOf(error, server.name) }
  }
}

/** What a control plane knows once it has asked its servers what they know. */
async function afterLook(context: ApiContext, environment: Environment, signal: AbortSignal): Promise<Environment> {
  const { shared, gateway, store } = context
  if (shared.alone) return environment
  const limit = AbortSignal.any([signal, AbortSignal.timeout(askTimeout)])
  await shared.lookOn(environment, await gateway.linksOf(environment.id, null), limit)
  return store.applications.environmentById(environment.id)
}

async function problemOf(work: () => Promise<unknown>): Promise<ErrorReport | null> {
  try {
    await work()
    return null
  } catch (error) {
    return reportOf(error)
  }
}
