import type { Deployment } from '../../../protocol/deployment.ts'
import { DployError } from '../../../protocol/errors.ts'
import { isFinal } from '../../deploy/run/states.ts'
import type { ListFilter } from '../../store/deployments.ts'
import { visibleEnvironment } from '../call/access.ts'
import type { Caller } from '../call/caller.ts'
import { numberCursor, paged } from '../call/cursor.ts'
import { requestedBy } from '../call/requested-by.ts'
import type { ApiContext } from '../context.ts'
import { environmentIn } from '../environments/environment-in.ts'
import { promotedFrom } from '../environments/promotion.ts'
import type { Call, Handlers } from '../server.ts'

const dayMs = 86_400_000

/** Deployments: begun, listed, followed, held, ended. */
export function deploymentHandlers(
  context: ApiContext,
): Pick<
  Handlers,
  | 'deploy'
  | 'rollback'
  | 'deployments'
  | 'deploymentSummaries'
  | 'deploymentDays'
  | 'deploymentLog'
  | 'deploymentSummary'
  | 'deployment'
  | 'deploymentEvents'
  | 'cancel'
  | 'pause'
  | 'promote'
  | 'decide'
> {
  const { store, deployer } = context
  const environmentOf = environmentIn(context)

  return {
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
          ...(call.body.noWayBack && { noWayBack: true }),
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
        request: {
          revision: null,
          artifact: null,
          release: release.id,
          servers: null,
          ...(call.body.noWayBack && { noWayBack: true }),
          ...keptUnder(call),
        },
        requestedBy: requestedBy(call),
        requester: call.caller.identity,
        wait: call.body.wait,
      })
      return told(call, await store.deployments.present(id))
    },

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
  }
}

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

async function endElsewhere(context: ApiContext, id: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && !isFinal((await context.store.deployments.get(id)).state)) {
    // Approved, or taken up, meanwhile.
    await (context.deployer.done(id) ?? new Promise((resolve) => setTimeout(resolve, 300)))
  }
}
