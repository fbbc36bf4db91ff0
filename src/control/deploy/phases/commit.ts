import { DployError } from '../../../protocol/errors.ts'
import type { EnvironmentServer } from '../../store/applications.ts'
import type { Release } from '../../store/releases.ts'
import type { Run } from '../run/run.ts'

/** How long the release that serves has to answer well, before the release command and after it. Milliseconds. */
const wellWithin = 1_000
const illAfter = 5_000
/** On top, for the way there and back. Milliseconds. */
const askTimeout = 5_000

/** The commit point: every server is staged; what has to run once, runs; from here on only pointers move. */
export async function commit(run: Run): Promise<void> {
  const release = run.release!
  const planned = run.row.plan!
  const { releaseCommand } = planned
  if (releaseCommand)
    await run.timed('release_command', () => guarded(run, () => runReleaseCommand(run, releaseCommand.server)))
  await run.transition('activating', { wantedRelease: release.id })
}

/** Runs it between two looks at the release that serves: what it broke may not be switched over, but told. */
async function guarded(run: Run, work: () => Promise<void>): Promise<void> {
  const from = run.from
  if (from === null || from.spec.service === null || !run.release!.spec.release_command!.check_old) return work()
  const { unreachable } = run.row.plan!
  const reachable = run.servers.filter(({ name }) => !unreachable.includes(name))
  const well = (await looks(run, from, reachable, wellWithin))
    .filter(({ healthy }) => healthy)
    .map(({ server }) => server)
  await work()
  const ill = (await looks(run, from, well, illAfter)).find(({ healthy }) => !healthy)
  if (!ill) return
  throw new DployError(
    'release.old_unhealthy',
    `The release command ran, and release ${from.number} is no longer healthy on ${ill.server.name}: ${ill.detail}`,
    { where: ill.server.name },
  )
}

/** What the servers say of the release that serves; those that do not say are left out. */
async function looks(
  run: Run,
  release: Release,
  servers: readonly EnvironmentServer[],
  timeout: number,
): Promise<{ server: EnvironmentServer; healthy: boolean; detail: string }[]> {
  const answers = await Promise.all(
    servers.map(async (server) => {
      try {
        const id = `${run.id}:${run.fence}:check_health:${server.id}:${Date.now()}`
        const answer = await run.command(
          server,
          'check_health',
          { release: release.spec, local: await run.localOf(server, release), timeout },
          { timeout: timeout + askTimeout, signal: run.signal, id },
        )
        return { server, ...answer }
      } catch (error) {
        run.signal.throwIfAborted()
        run.note(server, `its health is not known: ${error instanceof Error ? error.message : String(error)}`)
        return null
      }
    }),
  )
  return answers.filter((answer) => answer !== null)
}

async function runReleaseCommand(run: Run, name: string): Promise<void> {
  const release = run.release!
  const server = run.server(name)
  run.event(server, { kind: 'progress', phase: 'release command' })
  try {
    // One id for the deployment, whoever runs it: after a crash of the control plane the agent answers what came of it.
    const { seconds } = await run.command(
      server,
      'release_command',
      { release: release.spec, local: await run.localOf(server, release) },
      {
        timeout: release.spec.release_command!.timeout + run.environment.timeouts.reach,
        signal: run.signal,
        id: `${run.id}:release_command`,
      },
    )
    run.note(server, `release command done in ${seconds.toFixed(1)} s`)
  } catch (error) {
    run.signal.throwIfAborted()
    if (error instanceof DployError && error.code === 'release.command_failed') throw error
    throw new DployError(
      'release.command_failed',
      `The release command did not end well on ${name}: ${error instanceof Error ? error.message : String(error)}`,
      { where: name, cause: error },
    )
  }
}
