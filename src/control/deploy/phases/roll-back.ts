import { DployError, reportOf } from '../../../protocol/errors.ts'
import type { StepState } from '../../../protocol/deployment.ts'
import type { EnvironmentServer } from '../../store/applications.ts'
import type { Release } from '../../store/releases.ts'
import { activateServer } from './activate.ts'
import { switchBack } from '../strategies/blue-green.ts'
import { restoreTraffic } from '../strategies/canary.ts'
import { observeServers, type Observation } from '../run/observe.ts'
import { batchSize } from '../plan/plan.ts'
import { spare } from '../plan/spare.ts'
import { stageServer } from './stage.ts'
import type { Run } from '../run/run.ts'

/** In these states a server was touched after the commit point. */
const touched: ReadonlySet<StepState> = new Set<StepState>([
  'draining',
  'activating',
  'registering',
  'switched',
  'failed',
  'quarantined',
  'reverting',
])

/** Resolves as soon as a server that still waits for its turn fails, so that its turn comes at once. */
export type Urgent = (server: EnvironmentServer) => Promise<void>

/**
 * Switches back what was switched. Servers that do not serve go first, all together; those that serve follow in
 * batches, so that the environment keeps its capacity; one that dies while it waits goes at once.
 */
export async function rollBack(run: Run, urgent: Urgent, signal: AbortSignal): Promise<void> {
  const { groups } = run.row.plan!
  if (groups) return switchBack(run, groups, signal)
  const release = run.from!
  const steps = await run.store.deployments.steps(run.id)
  const affected = steps.filter((step) => touched.has(step.state))
  const serving = affected.filter((step) => step.state === 'switched').map((step) => run.server(step.server))
  const down = affected.filter((step) => step.state !== 'switched').map((step) => run.server(step.server))
  const observed = await observeServers(run, signal)
  const failed: { server: EnvironmentServer; error: unknown }[] = []
  const revert = async (server: EnvironmentServer) => {
    try {
      await revertServer(run, server, release, observed.get(server.name), signal)
    } catch (error) {
      signal.throwIfAborted()
      failed.push({ server, error })
      await run.step(server, 'quarantined', { failure: reportOf(error, server.name) })
    }
  }
  const { strategy } = run.environment
  const batch =
    strategy.batch === 'auto'
      ? Math.max(1, ...(run.row.plan?.batches ?? []).map(({ length }) => length))
      : batchSize(strategy.batch, run.servers.length)
  // To go back is more urgent than to keep all that min_healthy asks for: one at a time goes whatever is left.
  const size = () =>
    strategy.kind === 'all-at-once' || run.row.plan?.warm === true
      ? Math.max(1, serving.length)
      : Math.max(1, Math.min(batch, spare(run, failed.length)))
  await revertAll(serving, size, Promise.all(down.map(revert)), revert, urgent)
  // Not before: what has to go back should not get more traffic on its way.
  await restoreTraffic(run, signal)
  if (failed.length > 0) {
    const first = failed[0]!
    const names = failed.map(({ server }) => server.name).join(', ')
    const report = reportOf(first.error)
    const back = affected
      .map(({ server }) => server)
      .filter((name) => !failed.some(({ server }) => server.name === name))
    const serve =
      back.length === 0
        ? ''
        : `. ${back.join(', ')} ${back.length === 1 ? 'serves' : 'serve'} release ${release.number} again`
    throw new DployError(
      'server.activate_failed',
      `Rolled back, but ${names} could not be: ${report.message}${serve}`,
      {
        where: names,
        fix: report.code.startsWith('balancer.')
          ? `Fix the balancer. Then bring ${names} to the release: dploy converge ${run.environmentName}`
          : `Fix the server. Then bring it to the release: dploy converge ${run.environmentName}`,
        cause: first.error,
      },
    )
  }
}

/** The servers that serve, in batches once those that do not are back; one that dies while it waits goes at once. */
async function revertAll(
  servers: readonly EnvironmentServer[],
  size: () => number,
  downAreBack: Promise<unknown>,
  revert: (server: EnvironmentServer) => Promise<void>,
  urgent: Urgent,
): Promise<void> {
  const started = new Map<string, Promise<void>>()
  const once = (server: EnvironmentServer) => {
    let task = started.get(server.name)
    if (!task) started.set(server.name, (task = revert(server)))
    return task
  }
  for (const server of servers)
    void urgent(server)
      .then(() => once(server))
      .catch(() => {})
  await downAreBack
  for (let start = 0; start < servers.length;) {
    const together = servers.slice(start, start + size())
    await Promise.all(together.map(once))
    start += together.length
  }
}

async function revertServer(
  run: Run,
  server: EnvironmentServer,
  release: Release,
  observation: Observation | DployError | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (observation instanceof DployError) throw observation
  await run.step(server, 'reverting')
  if (observation && !observation.releases.some((one) => one.number === release.number))
    await stageServer(run, server, release, observation, { signal, counted: false })
  const spans = await activateServer(run, server, release, signal, {
    draining: 'reverting',
    activating: 'reverting',
    registering: 'reverting',
  })
  await run.step(server, 'reverted', { spans })
}
