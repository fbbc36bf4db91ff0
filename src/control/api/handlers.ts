import type { Deployment } from '../../protocol/deployment.ts'
import { DployError } from '../../protocol/errors.ts'
import { decodeManifest } from '../../protocol/manifest.ts'
import { examine } from '../doctor/examine.ts'
import { gatherFacts } from '../doctor/gather.ts'
import { isFinal } from '../deploy/states.ts'
import type { ListFilter } from '../store/deployments.ts'
import type { Environment } from '../store/applications.ts'
import { visibleEnvironment } from './access.ts'
import { applyConfig } from './apply.ts'
import { auditHandlers } from './audit-handlers.ts'
import { badgeHandlers } from './badge-handlers.ts'
import { bodyOf } from './body.ts'
import { changeHandlers } from './change-handlers.ts'
import { commandHandlers } from './command-handlers.ts'
import type { Caller } from './caller.ts'
import type { ApiContext } from './context.ts'
import { controlHandlers } from './control-handlers.ts'
import { numberCursor, paged } from './cursor.ts'
import { logLines } from './log-lines.ts'
import { notificationHandlers } from './notification-handlers.ts'
import { peopleHandlers } from './people-handlers.ts'
import { sourceHandlers } from './source-handlers.ts'
import { promotedFrom } from './promotion.ts'
import { preview } from './preview.ts'
import { releaseReadiness } from './readiness.ts'
import { serverHandlers } from './server-handlers.ts'
import type { Call, Handlers } from './server.ts'
import { settingsHandlers } from './settings-handlers.ts'
import { sessionHandlers } from './session-handlers.ts'
import { SharedStatus } from './shared-status.ts'
import { summaryOf } from './status.ts'
import { tokenHandlers } from './token-handlers.ts'
import { vitalsHandlers } from './vitals-handlers.ts'
import { webhookHandlers } from './webhook-handlers.ts'

const dayMs = 86_400_000

/** What each route of the contract does. */
export function makeHandlers(context: ApiContext): Handlers {
  const { store, deployer } = context
  const shared = new SharedStatus(context)
  const environmentOf = (params: { application: string; environment: string }) =>
    store.applications.environment(params.application, params.environment)
  const requestedBy = (call: { body: { requestedBy?: string | undefined }; caller: { name: string } }) =>
    call.body.requestedBy ?? call.caller.name

  return {
    ...commandHandlers(context),
    ...serverHandlers(context),
    ...vitalsHandlers(context),
    ...sessionHandlers(context),
    ...peopleHandlers(context),
    ...tokenHandlers(context),
    ...auditHandlers(context),
    ...webhookHandlers(context),
    ...sourceHandlers(context),
    ...controlHandlers(context),
    ...notificationHandlers(context),
    ...badgeHandlers(context),
    ...settingsHandlers(context),
    ...changeHandlers(context),

    apply: (call) => applyConfig(context, call),

    async environments({ caller }) {
      const all = (await store.applications.environments()).filter(({ id }) => caller.rights.may('read', id))
      return { environments: await Promise.all(all.map((environment) => summaryOf(context, environment))) }
    },

    status: async ({ params, query, signal }) => shared.of(await environmentOf(params), query.within, signal),

    async doctor({ params, signal }) {
      const facts = await gatherFacts(context, await environmentOf(params), signal)
      return { servers: facts.servers.map((server) => server.name), findings: examine(facts) }
    },

    async plan({ params, body, caller, signal }) {
      const environment = await environmentOf(params)
      if (body.revision !== undefined && body.promote !== undefined)
        throw new DployError('request.invalid', 'Name a revision or a release to promote, not both')
      return preview(
        context,
        environment,
        body.promote ? await promotedFrom(context, caller, environment, body.promote) : (body.revision ?? null),
        signal,
      )
    },

    async deploy(call) {
      const environment = await environmentOf(call.params)
      const { revision, artifact, promote } = call.body
      if ([revision, artifact, promote].filter((one) => one !== undefined).length > 1)
        throw new DployError('request.invalid', 'Name a revision, an artifact or a release to promote, not two of them')
      const promoted = promote && (await promotedFrom(context, call.caller, environment, promote))
      const id = await deployer.submit({
        environment,
        kind: 'deploy',
        request: {
          revision: revision ?? null,
          artifact: artifact ?? null,
          release: null,
          servers: null,
          ...promoted,
          ...keptUnder(call),
        },
        requestedBy: requestedBy(call),
        requester: call.caller.identity,
        wait: call.body.wait,
      })
      return told(call, await store.deployments.present(id))
    },

    async rollback(call) {
      const environment = await environmentOf(call.params)
      const release =
        call.body.release === undefined
          ? await store.releases.before(environment.id, environment.wantedRelease)
          : await store.releases.byNumber(environment.id, call.body.release)
      const id = await deployer.submit({
        environment,
        kind: 'rollback',
        request: { revision: null, artifact: null, release: release.id, servers: null, ...keptUnder(call) },
        requestedBy: requestedBy(call),
        requester: call.caller.identity,
        wait: call.body.wait,
      })
      return told(call, await store.deployments.present(id))
    },

    async unlock(call) {
      const environment = await environmentOf(call.params)
      const elsewhere = (await context.shared?.force(environment, call.signal)) ?? null
      const here = await store.locks.force(environment.id)
      if (here)
        await deployer.unseat(
          here.deployment,
          `Deployment ${here.number} was ended where it stood: ${call.caller.name} opened its lock`,
        )
      const held = here ?? elsewhere
      call.tell({ before: held && { deployment: held.number, holder: held.holder } })
      return { held }
    },

    async converge(call) {
      const environment = await environmentOf(call.params)
      const id = await context.converger.now(environment.id, requestedBy(call))
      const deployment = id === null ? null : (await store.deployments.get(id)).number
      call.tell({ after: { deployment } })
      return { deployment }
    },

    async ahead({ params, query, caller }) {
      const environment = await environmentOf(params)
      await visibleEnvironment(context, caller, params.application, query.of)
      return aheadOf(
        context,
        environment,
        await environmentOf({ application: params.application, environment: query.of }),
      )
    },

    async deploymentDays({ query, caller }) {
      const [offset, now] = [query.offset * 60_000, Date.now()]
      const today = Math.floor((now + offset) / dayMs)
      return {
        today,
        days: await store.summaries.byDay(
          (today - query.days + 1) * dayMs - offset,
          offset,
          caller.rights.environments('read'),
        ),
      }
    },

    async releases({ params, query }) {
      const environment = await environmentOf(params)
      const { page, next } = paged(
        await store.releases.list(environment.id, query.limit + 1, numberCursor(query.cursor)),
        query.limit,
        ({ number }) => number,
      )
      return {
        next,
        releases: page.map((release) => ({
          number: release.number,
          artifact: release.spec.artifact,
          revision: release.spec.revision,
          createdAt: release.createdAt,
          wanted: release.id === environment.wantedRelease,
        })),
      }
    },

    releaseReadiness: async ({ params, query, signal }) =>
      releaseReadiness(context, await environmentOf(params), query.limit, signal),

    async secrets({ params }) {
      return { secrets: await store.secrets.list((await environmentOf(params)).id) }
    },

    async setSecret({ params, body, caller, tell }) {
      const [environment, now, by] = [await environmentOf(params), Date.now(), body.setBy ?? caller.name]
      const before = (await store.secrets.list(environment.id)).find(({ name }) => name === params.name)
      // Never a value.
      tell({ before: before ? { setAt: before.setAt, setBy: before.setBy } : null, after: { setAt: now, setBy: by } })
      await store.secrets.set(environment.id, params.name, body.value, by, now)
      return { name: params.name, setAt: now, setBy: by }
    },

    async removeSecret({ params, tell }) {
      const environment = await environmentOf(params)
      const before = (await store.secrets.list(environment.id)).find(({ name }) => name === params.name)
      tell({ before: before ? { setAt: before.setAt, setBy: before.setBy } : null, after: null })
      await store.secrets.remove(environment.id, params.name)
      return {}
    },

    logs: (call) => environmentLogs(context, call),

    async deployments({ query, caller }) {
      const { page, next } = paged(
        await store.deployments.list(await listed(context, caller, query)),
        query.limit,
        ({ number }) => number,
      )
      return { deployments: page, next }
    },

    async deploymentSummaries({ query, caller }) {
      const { page, next } = paged(
        await store.summaries.list(await listed(context, caller, query)),
        query.limit,
        ({ number }) => number,
      )
      return { deployments: page, next }
    },

    async deploymentLog({ params, query }) {
      const events = await store.events.read(
        await store.deployments.idOf(params.number),
        numberCursor(query.cursor) ?? 0,
        query.limit + 1,
      )
      const { page, next } = paged(events, query.limit, ({ seq }) => seq)
      return { events: page, next }
    },

    deploymentSummary: async ({ params }) => store.summaries.one(await store.deployments.idOf(params.number)),

    deployment: async ({ params }) => store.deployments.present(await store.deployments.idOf(params.number)),

    deploymentEvents: (call) => deploymentEvents(context, call),

    async cancel({ params, tell }) {
      const id = await store.deployments.idOf(params.number)
      tell({ before: { state: (await store.deployments.get(id)).state } })
      await deployer.cancel(id)
      const cancelled = await store.deployments.present(id)
      tell({ after: { state: cancelled.state } })
      return cancelled
    },

    async pause(call) {
      const { params, tell } = call
      const id = await store.deployments.idOf(params.number)
      const by = requestedBy(call)
      tell({
        subject: `deployment ${params.number}`,
        before: { pausedBy: (await store.gates.get(id)).pausedBy },
        after: { pausedBy: by },
      })
      await store.gates.pause(id, by, Date.now())
      return store.deployments.present(id)
    },

    async promote(call) {
      const { params, tell } = call
      const id = await store.deployments.idOf(params.number)
      tell({ subject: `deployment ${params.number}`, before: await store.gates.get(id) })
      await store.gates.promote(id, requestedBy(call), Date.now())
      tell({ after: await store.gates.get(id) })
      return store.deployments.present(id)
    },

    async decide({ params, body, caller, tell }) {
      const id = await store.deployments.idOf(params.number)
      // Everybody who has it could be who asked.
      if (caller.kind === 'token' && caller.person === null)
        throw new DployError('forbidden', "This token is nobody's, and approval is a person's", {
          fix: 'Sign in, or use a token that a person made',
        })
      const { revision } = await store.deployments.get(id)
      tell({
        subject: `deployment ${params.number}`,
        before: { state: 'waiting_for_approval' },
        after: { ...body, revision: revision?.commit ?? null },
      })
      await deployer.decide(id, { ...body, by: caller.name, identity: caller.identity })
      return store.deployments.present(id)
    },

    async offerArtifact({ body }) {
      const manifest = decodeManifest(body.manifest)
      return { artifact: manifest.digest, missing: await context.artifacts.offer(manifest) }
    },

    uploadObjects: async ({ request }) => ({ objects: await context.artifacts.receive(bodyOf(request)) }),
  }
}

/** Which deployments a caller asks for, of those they may see; one more than fit on the page. */
async function listed(context: ApiContext, caller: Caller, query: Call<'deployments'>['query']): Promise<ListFilter> {
  if (query.environment !== undefined && query.application === undefined)
    throw new DployError('request.invalid', 'environment goes with application')
  const environmentId =
    query.application === undefined || query.environment === undefined
      ? undefined
      : await visibleEnvironment(context, caller, query.application, query.environment)
  const before = numberCursor(query.cursor) ?? query.before
  return {
    environments: caller.rights.environments('read'),
    ...(environmentId === undefined ? {} : { environmentId }),
    ...(before === undefined ? {} : { before }),
    limit: query.limit + 1,
  }
}

/** Commits of what two environments of an application run, that only one of them has. */
async function aheadOf(
  { store, artifacts }: ApiContext,
  one: Environment,
  other: Environment,
): Promise<{ ahead: number | null; behind: number | null }> {
  const [a, b] = await Promise.all(
    [one, other].map(async ({ wantedRelease }) =>
      wantedRelease === null ? null : (await store.releases.get(wantedRelease)).spec.revision.commit,
    ),
  )
  if (!a || !b) return { ahead: null, behind: null }
  const { config, base } = one
  const [ahead, behind] = await Promise.all([
    artifacts.between(config, base, b, a),
    artifacts.between(config, base, a, b),
  ])
  // Of two commits that differ one has something that the other lacks, unless git did not know one of them.
  return a !== b && ahead.length + behind.length === 0
    ? { ahead: null, behind: null }
    : { ahead: ahead.length, behind: behind.length }
}

/** Lets a request that comes again find its deployment. */
function keptUnder({ answer }: { answer: string | null }): { answer?: string } {
  return answer === null ? {} : { answer }
}

/** For the audit log: what the environment was meant to run, and the deployment that is to change it. */
function told(call: Call<'deploy'> | Call<'rollback'>, deployment: Deployment): Deployment {
  const { number, state, requestedBy } = deployment
  call.tell({
    subject: `deployment ${number}`,
    before: { release: deployment.from },
    after: { deployment: number, ...call.body, requestedBy, state, release: deployment.release },
  })
  return deployment
}

async function* environmentLogs(context: ApiContext, call: Call<'logs'>) {
  const environment = await context.store.applications.environment(call.params.application, call.params.environment)
  const follow = call.query.follow === 'true'
  for await (const line of logLines(context, environment, {
    lines: call.query.lines,
    follow,
    server: call.query.server ?? null,
    since: call.query.since ?? null,
    grep: call.query.grep ?? null,
    signal: call.signal,
  }))
    yield { data: line }
}

async function* deploymentEvents(context: ApiContext, call: Call<'deploymentEvents'>) {
  const { store } = context
  const id = await store.deployments.idOf(call.params.number)
  const ended = new AbortController()
  const signal = AbortSignal.any([call.signal, ended.signal])
  // The end is stored after the last event but the receipt's: once the run is over, everything is there to be read.
  void (context.deployer.done(id) ?? endElsewhere(context, id, call.signal))
    .then(() => store.events.flush())
    .then(() => ended.abort())
  let cursor = call.lastEventId ?? call.query.after
  for await (const event of store.events.follow(id, cursor, signal)) {
    cursor = event.seq
    yield { id: event.seq, data: event }
  }
  if (call.signal.aborted) return
  for (;;) {
    const rest = await store.events.read(id, cursor, 1_000)
    if (rest.length === 0) return
    for (const event of rest) yield { id: (cursor = event.seq), data: event }
  }
}

/** Waits for the end of a deployment that another process runs, or that waits to be taken up. */
async function endElsewhere(context: ApiContext, id: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && !isFinal((await context.store.deployments.get(id)).state)) {
    // Approved, or taken up, meanwhile.
    await (context.deployer.done(id) ?? new Promise((resolve) => setTimeout(resolve, 300)))
  }
}
