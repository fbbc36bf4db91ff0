import { DployError } from '../../../protocol/errors.ts'
import { examine } from '../../doctor/examine.ts'
import { gatherFacts } from '../../doctor/gather.ts'
import type { Environment } from '../../store/applications.ts'
import { visibleEnvironment } from '../call/access.ts'
import { requestedBy } from '../call/requested-by.ts'
import type { ApiContext } from '../context.ts'
import { logLines } from '../deployments/log-lines.ts'
import type { Call, Handlers } from '../server.ts'
import { environmentIn } from './environment-in.ts'
import { Overview } from './overview.ts'
import { preview } from './preview.ts'
import { promotedFrom } from './promotion.ts'
import { SharedStatus } from './shared-status.ts'
import { summaryOf } from './status.ts'

/** Environments: how they are, what a deployment would do, their locks and logs. */
export function environmentHandlers(
  context: ApiContext,
): Pick<
  Handlers,
  'environments' | 'overview' | 'status' | 'doctor' | 'plan' | 'unlock' | 'converge' | 'ahead' | 'logs'
> {
  const { store, deployer } = context
  const shared = new SharedStatus(context)
  const overview = new Overview(context, shared, (one, other) => aheadOf(context, one, other))
  const environmentOf = environmentIn(context)

  return {
    async environments({ caller }) {
      const all = (await store.applications.environments()).filter(({ id }) => caller.rights.may('read', id))
      return { environments: await Promise.all(all.map((environment) => summaryOf(context, environment))) }
    },

    async overview({ caller, signal }) {
      const all = (await store.applications.environments()).filter(({ id }) => caller.rights.may('read', id))
      return { environments: await overview.of(all, signal) }
    },

    status: async ({ params, query, signal }) => shared.of(await environmentOf(params), query.within, signal),

    async doctor({ params, signal }) {
      const facts = await gatherFacts(context, await environmentOf(params), signal)
      return {
        servers: facts.servers.map(({ name }) => name),
        asked: facts.servers.filter(({ diagnosis }) => diagnosis !== null).map(({ name }) => name),
        findings: examine(facts),
      }
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

    async unlock(call) {
      const environment = await environmentOf(call.params)
      const elsewhere = await context.shared.force(environment, call.signal)
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

    logs: (call) => environmentLogs(context, call),
  }
}

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
