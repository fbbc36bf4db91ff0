import { createHash } from 'node:crypto'
import { DployError, reportOf } from '../../../protocol/errors.ts'
import { currentScript } from '../../install/routes.ts'
import { isPublicKey } from '../../../protocol/signature.ts'
import type { ServerView } from '../../../protocol/api/servers.ts'
import { isIdle } from '../../deploy/strategies/groups.ts'
import { rotateKeyOf } from '../../gateway/keys.ts'
import type { Environment } from '../../store/applications.ts'
import type { Server } from '../../store/servers.ts'
import type { ApiContext } from '../context.ts'
import { mustMay } from '../call/access.ts'
import { paged } from '../call/cursor.ts'
import type { Handlers } from '../server.ts'
import { serverView, visibleView } from './server-view.ts'

type Names =
  | 'servers'
  | 'server'
  | 'drainServer'
  | 'readyServer'
  | 'renameServer'
  | 'removeServer'
  | 'rotateServerKey'
  | 'unlockServer'
  | 'installer'
  | 'addToEnvironment'
  | 'createJoinToken'
  | 'join'

/** How long a token lives that a forgotten key is answered with. Milliseconds. */
const rejoinTime = 3_600_000

/** What the routes of servers and of their joining do. */
export function serverHandlers(context: ApiContext): Pick<Handlers, Names> {
  const { store, gateway, log } = context
  const named = async (name: string): Promise<Server> => {
    const server = await store.servers.named(name)
    if (server) return server
    const known = (await store.servers.all()).map((one) => one.name)
    throw new DployError('server.unknown', `There is no server ${name}; known: ${known.join(', ') || 'none'}`, {
      fix: 'Run: dploy server list',
    })
  }

  return {
    async servers({ query, signal, caller }) {
      const all = (await store.servers.all())
        .filter(({ name }) => query.cursor === undefined || name > query.cursor)
        .sort((a, b) => (a.name < b.name ? -1 : 1))
      const views: ServerView[] = []
      // What the caller may not see takes no place on the page.
      for (let at = 0; at < all.length && views.length <= query.limit; at += query.limit) {
        const some = await Promise.all(
          all.slice(at, at + query.limit).map(async (server) => visibleView(context, server, caller.rights, signal)),
        )
        views.push(...some.filter((view) => view !== null))
      }
      const { page, next } = paged(views, query.limit, ({ name }) => name)
      return { servers: page, next }
    },

    async server({ params, signal, caller }): Promise<ServerView> {
      const server = await named(params.server)
      const view = await visibleView(context, server, caller.rights, signal)
      if (!view) throw new DployError('server.unknown', `There is no server ${params.server}`)
      return view
    },

    async drainServer({ params, body, caller, signal, tell }) {
      const server = await named(params.server)
      tell({ before: { keptOut: server.keptOut }, after: { keptOut: true } })
      const by = body.requestedBy ?? caller.name
      // Stored first: a deployment that is under way does not put it back.
      await store.servers.keepOut(server.id, { since: Date.now(), by })
      log.info({ server: server.name, by }, 'kept out of traffic')
      return {
        environments: await atBalancers(context, server, (balancer, { drain }) =>
          balancer.drain(server.name, { timeout: drain, signal }),
        ),
      }
    },

    async readyServer({ params, body, caller, signal, tell }) {
      const server = await named(params.server)
      tell({ before: { keptOut: server.keptOut }, after: { keptOut: null } })
      const view = await serverView(context, server, signal)
      const drifted = view.releases.find((release) => release.drifted)
      if (drifted)
        throw new DployError(
          'server.drifted',
          `${server.name} does not run what ${drifted.environment} of ${drifted.application} wants`,
          { where: server.name, fix: `Bring it there first: dploy deploy ${drifted.environment}` },
        )
      await store.servers.keepOut(server.id, null)
      log.info({ server: server.name, by: body.requestedBy ?? caller.name }, 'no longer kept out of traffic')
      return {
        environments: await atBalancers(context, server, (balancer, { register }) =>
          balancer.register(server.name, { timeout: register, signal }),
        ),
      }
    },

    async renameServer({ params, body, tell }) {
      const server = await named(params.server)
      tell({ before: { name: server.name }, after: { name: body.name } })
      await store.servers.rename(server.id, body.name)
      gateway.link(server.id)?.close('it has another name now')
      const listed = await environmentsOf(context, server)
      log.info({ server: server.name, name: body.name }, 'renamed')
      return {
        listed: listed
          .filter((one) => one.listed)
          .map(({ environment }) => `${environment.application}/${environment.name}`),
      }
    },

    async removeServer({ params, caller, tell }) {
      const server = await named(params.server)
      const listed = (await environmentsOf(context, server)).find((one) => one.listed)
      if (listed) {
        const { environment } = listed
        throw new DployError(
          'request.invalid',
          `The dploy.yml of ${environment.application} lists ${server.name} under ${environment.name}`,
          { where: server.name, fix: `Take it out there, run: dploy plan ${environment.name}, then remove it` },
        )
      }
      tell({
        before: {
          ...shown(server),
          environments: (await environmentsOf(context, server)).map(
            ({ environment }) => `${environment.application}/${environment.name}`,
          ),
        },
        after: null,
      })
      await store.servers.remove(server.id, Date.now())
      context.vitals.forget(server.id)
      gateway.link(server.id)?.close('the server was removed')
      log.info({ server: server.name, by: caller.name }, 'removed')
      return {}
    },

    async rotateServerKey({ params, body, caller, tell }) {
      const server = await named(params.server)
      const link = gateway.link(server.id)
      const asked = link !== null && !body.forget && server.lockedAt === null
      tell({
        before: shown(server),
        after: asked ? { key: 'replaced by one that its agent made' } : { key: null, lockedAt: null },
      })
      if (link && asked) {
        await rotateKeyOf(link, (publicKey) => store.servers.offerKey(server.id, publicKey))
        log.info({ server: server.name, by: caller.name }, 'its key changes')
        return { token: null }
      }
      await store.servers.forgetKey(server.id)
      gateway.forgive(server.id)
      link?.close('its key was forgotten')
      log.info({ server: server.name, by: caller.name }, 'its key was forgotten')
      return {
        token: await store.tokens.create(
          'join',
          `new key of ${server.name}`,
          { uses: 1, expires: Date.now() + rejoinTime, server: server.name },
          Date.now(),
        ),
      }
    },

    async unlockServer({ params, caller, tell }) {
      const server = await named(params.server)
      tell({ before: { lockedAt: server.lockedAt }, after: { lockedAt: null } })
      await store.servers.lock(server.id, null)
      gateway.forgive(server.id)
      log.info({ server: server.name, by: caller.name }, 'unlocked')
      return {}
    },

    async installer() {
      const url = context.publicUrl ?? context.address.url
      if (url === null)
        throw new DployError('request.invalid', 'This control plane listens nowhere that an agent could dial', {
          fix: 'Start one: dploy serve',
        })
      return { url, script: await currentScript(url, context.controlKey) }
    },

    async addToEnvironment({ params, body, caller, tell }) {
      const server = await named(params.server)
      const environment = await store.applications.environment(body.application, body.environment)
      mustMay(caller, 'administer', environment.id, `in ${body.environment} of ${body.application}`)
      const member = await store.servers.addTo(server.id, environment.id, body.tags)
      tell({ after: { environment: `${body.application}/${body.environment}`, tags: member.tags } })
      context.gateway.onMember(server.id)
      return member
    },

    async createJoinToken({ body }) {
      const environments = await Promise.all(
        body.environments.map(({ application, environment }) =>
          store.applications.environment(application, environment),
        ),
      )
      const limits = {
        uses: body.uses,
        expires: Date.now() + body.minutes * 60_000,
        environments: environments.map(({ id }) => id),
        tags: body.tags,
        server: body.server ?? null,
      }
      return { token: await store.tokens.create('join', body.note, limits, Date.now()) }
    },

    async join({ body, tell }) {
      if (!isPublicKey(body.publicKey))
        throw new DployError('request.invalid', 'publicKey is no Ed25519 public key in PEM', { where: 'publicKey' })
      // Who got no answer asks again under the same key, and needs no second use.
      const again = (await store.servers.named(body.name))?.publicKey === body.publicKey
      const limits = await store.tokens.useJoinToken(body.token, body.name, Date.now(), again)
      const server = await store.servers.join(body.name, body.publicKey, Date.now(), limits)
      gateway.forgive(server)
      tell({ who: `agent of ${body.name}`, subject: body.name, after: { server: body.name, tags: limits.tags } })
      log.info({ server: body.name }, 'an agent joined')
      return { server, controlKey: context.controlKey }
    },
  }
}

/** For the audit log: what a server was, its key by a digest. */
function shown({ publicKey, lockedAt, keptOut }: Server): {
  key: string | null
  lockedAt: number | null
  keptOut: Server['keptOut']
} {
  return {
    key: publicKey === null ? null : `sha256:${createHash('sha256').update(publicKey).digest('hex').slice(0, 16)}`,
    lockedAt,
    keptOut,
  }
}

/** The environments of a server, and whether the dploy.yml of each lists it. */
async function environmentsOf(
  { store }: ApiContext,
  server: Server,
): Promise<{ environment: Environment; listed: boolean }[]> {
  const memberships = await store.servers.memberships(server.id)
  return Promise.all(
    memberships.map(async ({ environment, listed }) => ({
      environment: await store.applications.environmentById(environment),
      listed,
    })),
  )
}

/** Does the same at the balancers of all environments of a server. What one of them refuses is told, and does not stop the others. */
async function atBalancers(
  context: ApiContext,
  server: Server,
  work: (
    balancer: ReturnType<ApiContext['openBalancer']>,
    timeouts: { drain: number; register: number },
  ) => Promise<unknown>,
) {
  return Promise.all(
    (await environmentsOf(context, server)).map(async ({ environment }) => {
      const place = { application: environment.application, environment: environment.name }
      const config = environment.config.environments[environment.name]
      if (!config || config.balancer.kind === 'none') return { ...place, problem: null }
      const member = (await context.store.applications.servers(environment.id)).find(({ id }) => id === server.id)
      // Its group does not serve: it is out of traffic, and stays there.
      if (member && isIdle(member, config, environment.liveGroup)) return { ...place, problem: null }
      try {
        await using balancer = context.openBalancer(config.balancer)
        if (balancer.capabilities.drains) await work(balancer, config.timeouts)
        return { ...place, problem: null }
      } catch (error) {
        return { ...place, problem: reportOf(error, server.name) }
      }
    }),
  )
}
