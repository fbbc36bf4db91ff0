import type { StepState } from '../../../protocol/deployment.ts'
import { reportOf } from '../../../protocol/errors.ts'
import type { EnvironmentServer } from '../../store/applications.ts'
import type { Run } from '../run/run.ts'

/** In these states a server was touched after the commit point. */
const touched: ReadonlySet<StepState> = new Set<StepState>([
  'draining',
  'activating',
  'registering',
  'switched',
  'quarantined',
])

/**
 * After a first deployment that failed: what served before (`service.replaces`) serves again on every server that was
 * touched, and they come back into traffic. First those that do not serve, then the others one after the other. What cannot be
 * brought back is told.
 */
export async function backToReplaced(run: Run): Promise<void> {
  if (!run.release?.spec.service?.replaces) return
  const steps = (await run.store.deployments.steps(run.id)).filter(({ state }) => touched.has(state))
  const serving = steps.filter(({ state }) => state === 'switched')
  const down = steps.filter(({ state }) => state !== 'switched')
  await Promise.all(down.map(({ server }) => backOne(run, run.server(server), false)))
  for (const { server } of serving) await backOne(run, run.server(server), true)
}

async function backOne(run: Run, server: EnvironmentServer, serves: boolean): Promise<void> {
  const { timeouts } = run.environment
  const { drains } = run.balancer.capabilities
  // The way back is not cancelled; it is bounded.
  const signal = AbortSignal.timeout(timeouts.drain + timeouts.activate + timeouts.register)
  try {
    if (drains && serves) await run.balancer.drain(server.name, { timeout: timeouts.drain, signal })
    await run.command(
      server,
      'activate',
      {
        release: run.release!.spec,
        local: await run.localOf(server, run.release!),
        backToReplaced: true,
      },
      { timeout: timeouts.activate, signal, id: `${run.id}:${run.fence}:back:${server.id}` },
    )
    if (drains && run.row.plan?.leftOut?.includes(server.name) !== true)
      await run.balancer.register(server.name, { timeout: timeouts.register, signal })
    // It is where it was before: nothing is left in the middle that would be converged.
    await run.step(server, 'quarantined')
  } catch (error) {
    run.note(server, `what served before could not be brought back: ${reportOf(error).message}`)
  }
}
