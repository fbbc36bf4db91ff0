import { DployError } from '../../protocol/errors.ts'
import { localOf } from './stage.ts'
import type { Run } from './run.ts'

/** The commit point: every server is staged; what has to run once, runs; from here on only pointers move. */
export async function commit(run: Run): Promise<void> {
  const release = run.release!
  const planned = run.row.plan!
  const { releaseCommand } = planned
  if (releaseCommand) await run.timed('release_command', () => runReleaseCommand(run, releaseCommand.server))
  await run.transition('activating', { wantedRelease: release.id })
}

async function runReleaseCommand(run: Run, name: string): Promise<void> {
  const release = run.release!
  const server = run.server(name)
  run.event(server, { kind: 'progress', phase: 'release command' })
  try {
    // One id for the deployment, whoever runs it: after a crash of the control plane the agent answers what came of it.
    const { seconds } = await run.command(server, 'release_command', { release: release.spec, local: { ...localOf(server), secrets: await run.secretsOf(release) } }, {
      timeout: release.spec.release_command!.timeout + run.environment.timeouts.reach,
      signal: run.signal,
      id: `${run.id}:release_command`,
    })
    run.note(server, `release command done in ${seconds.toFixed(1)} s`)
  } catch (error) {
    run.signal.throwIfAborted()
    if (error instanceof DployError && error.code === 'release.command_failed') throw error
    throw new DployError('release.command_failed', `The release command did not end well on ${name}: ${error instanceof Error ? error.message : String(error)}`, { where: name, cause: error })
  }
}
