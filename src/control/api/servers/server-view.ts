import type { ServerView } from '../../../protocol/api/servers.ts'
import type { ServiceState } from '../../../protocol/agent-messages.ts'
import type { Environment } from '../../store/applications.ts'
import type { Rights } from '../../people/rights.ts'
import type { Server } from '../../store/servers.ts'
import type { ApiContext } from '../context.ts'
import { checkHealth } from '../environments/health.ts'
import { serverStatus } from '../environments/status.ts'

/** How long a server has to answer. Milliseconds. */
const askTimeout = 5_000

/** The same for somebody who may see some environments; null: they may not see this server. Who may see all sees those in none too. */
export async function visibleView(
  context: ApiContext,
  server: Server,
  rights: Rights,
  signal: AbortSignal,
): Promise<ServerView | null> {
  if (rights.may('read', null)) return serverView(context, server, signal)
  const memberships = await context.store.servers.memberships(server.id)
  if (!memberships.some(({ environment }) => rights.may('read', environment))) return null
  return serverView(context, server, signal, (environment) => rights.may('read', environment))
}

/** What is known of a server, and what it runs in each of its environments: asked now where it is connected. */
export async function serverView(
  context: ApiContext,
  server: Server,
  signal: AbortSignal,
  visible: (environment: string) => boolean = () => true,
): Promise<ServerView> {
  const { store, gateway } = context
  const link = gateway.link(server.id)
  const limit = AbortSignal.any([signal, AbortSignal.timeout(askTimeout)])
  const memberships = (await store.servers.memberships(server.id)).filter(({ environment }) => visible(environment))
  const facts = link?.facts
  return {
    name: server.name,
    connected: link !== null,
    since: link?.since ?? server.lastSeenAt,
    joined: server.publicKey !== null,
    locked: server.lockedAt,
    keptOut: server.keptOut,
    agent: facts
      ? {
          version: facts.version,
          platform: facts.platform,
          program: link?.bundle?.digest ?? null,
          clockSkewMs: Math.round(facts.clockSkew),
          roundTripMs: Math.round(facts.roundTrip),
        }
      : null,
    upgradeProblem: context.upgradeProblem(server.id),
    now: context.vitals.latest(server.id, Date.now()),
    releases: await Promise.all(
      memberships.map(async ({ environment, ...rest }) => ({
        ...rest,
        ...(await released(context, await store.applications.environmentById(environment), server, limit)),
      })),
    ),
  }
}

async function released(context: ApiContext, environment: Environment, server: Server, signal: AbortSignal) {
  const wanted = environment.wantedRelease === null ? null : await context.store.releases.get(environment.wantedRelease)
  const place = { application: environment.application, environment: environment.name }
  const member = (await context.store.applications.servers(environment.id)).find(({ id }) => id === server.id)
  const status = await serverStatus(
    context,
    environment,
    member ?? { id: server.id, name: server.name, address: null, port: null, tags: {} },
    wanted?.number ?? null,
    signal,
  )
  return {
    ...place,
    observedAt: status.observedAt,
    release: status.release,
    since: status.service?.since ?? null,
    healthy: await healthy(context, environment, server, status, signal),
    drifted: status.drifted,
    problem: status.problem,
  }
}

async function healthy(
  context: ApiContext,
  environment: Environment,
  server: Server,
  { release: number, service }: { release: number | null; service: ServiceState | null },
  signal: AbortSignal,
): Promise<boolean | null> {
  const release =
    number === null ? null : await context.store.releases.byNumber(environment.id, number).catch(() => null)
  const { port = null } =
    (await context.store.applications.servers(environment.id)).find(({ id }) => id === server.id) ?? {}
  return (await checkHealth(context, environment, server, service, release && { release, port }, signal)).healthy
}
