import type { Span } from '../../../protocol/agent-messages.ts'
import { reportOf } from '../../../protocol/errors.ts'
import type { EnvironmentServer } from '../../store/applications.ts'
import type { Release } from '../../store/releases.ts'
import { placeOf } from '../run/observe.ts'
import type { Run } from '../run/run.ts'

/** How long servers have to end what they booted for nothing. They end it by themselves later. Milliseconds. */
const retireTimeout = 10_000

/** Starts the release beside the one that serves, and proves that it is healthy: before the commit point, so that a failure changes nothing. */
export async function bootBeside(
  run: Run,
  server: EnvironmentServer,
  release: Release,
  signal: AbortSignal,
): Promise<Span[]> {
  const began = run.elapsed()
  const { timeouts } = run.environment
  const local = await run.localOf(server, release)
  const params = { release: release.spec, local, balancerSwitches: run.balancer.readdress !== undefined }
  const { spans } = await run.command(server, 'boot', params, {
    timeout: timeouts.activate,
    signal,
    id: `${run.id}:${run.fence}:boot:${release.number}:${server.id}`,
  })
  return [
    { name: 'beside', start: began, end: run.elapsed() },
    ...spans.map(({ name, start, end }) => ({ name: `beside.${name}`, start: began + start, end: began + end })),
  ]
}

/** Ends what was booted of a release that is not switched to after all. What cannot be told ends by itself later. */
export async function retireBooted(run: Run): Promise<void> {
  const { release } = run
  if (release === null || run.row.plan?.warm !== true) return
  const signal = AbortSignal.timeout(retireTimeout)
  await Promise.all(
    run.row.plan.stage.map(async ({ server: name }) => {
      const server = run.server(name)
      try {
        await run.command(
          server,
          'retire',
          { ...placeOf(run), release: release.number },
          { timeout: retireTimeout, signal },
        )
      } catch (error) {
        run.note(server, `what was booted of release ${release.number} is not ended yet: ${reportOf(error).message}`)
      }
    }),
  )
}
