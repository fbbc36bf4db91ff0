import { releaseDirectory } from '../../../protocol/config/config.ts'
import { DployError } from '../../../protocol/errors.ts'
import type { ReleaseSpec, Revision } from '../../../protocol/release-spec.ts'
import type { Run } from '../run/run.ts'

/** Finds the commit that was asked for. */
export async function resolve(run: Run): Promise<void> {
  const { request, config, base } = run.row
  await secretIds(run)
  if (request.artifact !== null) {
    const revision: Revision = request.promoted?.revision ?? {
      commit: null,
      ref: null,
      subject: 'uploaded directory',
      author: run.row.requestedBy,
      time: run.row.createdAt,
    }
    return run.transition('building', { revision })
  }
  const revision =
    (await run.ahead?.revision()) ??
    (await run.options.artifacts.resolve(config, base, request.revision, run.environment.branch ?? null, run.signal))
  // One that was approved is a commit by now; its branch is still what people know it by.
  if (run.row.revision !== null) revision.ref = run.row.revision.ref
  run.row.revision = revision
  await run.transition('building', { revision })
}

/** Builds the artifact, or finds it built, and makes the release of it. */
export async function build(run: Run): Promise<void> {
  const { request, config, base } = run.row
  const revision = run.row.revision ?? (await run.store.deployments.get(run.id)).revision
  if (!revision) throw new DployError('internal', 'A deployment is building without a revision')
  let artifact = request.artifact
  if (artifact === null) {
    const made = async () =>
      (await run.ahead?.artifact(revision)) ??
      run.options.artifacts.build(config, base, revision, {
        signal: run.signal,
        onOutput: (stream, text) => run.event(null, { kind: 'output', source: 'build', stream, text }),
      })
    const built = await (config.build.command === undefined ? made() : run.timed('build_command', made))
    artifact = built.artifact
    run.note(null, built.cached ? 'built before; nothing to build' : 'built')
  } else if (!(await run.options.artifacts.has(artifact))) {
    throw new DployError('object.missing', `The artifact ${artifact.slice(0, 12)} was not uploaded whole`)
  }
  run.release = await run.store.releases.add(
    run.row.environmentId,
    specOf(run, artifact, revision, await secretIds(run)),
    Date.now(),
  )
  await run.transition('staging', { releaseId: run.release.id })
}

function specOf(
  run: Run,
  artifact: string,
  revision: Revision,
  secrets: Record<string, string>,
): Omit<ReleaseSpec, 'id' | 'number'> {
  const { config } = run.row
  return {
    application: config.application,
    environment: run.environmentName,
    artifact,
    revision,
    directory: releaseDirectory(config, run.environmentName),
    keep: config.release.keep,
    shared: config.release.shared,
    assets: config.release.assets,
    writable: config.release.writable,
    service: config.service ?? null,
    hooks: config.hooks,
    release_command: config.release_command ?? null,
    variables: { ...config.variables, ...run.environment.variables },
    secrets,
  }
}

/** The values that this deployment's release gets. Throws `secret.missing`, before anything is built. */
function secretIds(run: Run): Promise<Record<string, string>> {
  const names = [...new Set([...run.row.config.secrets, ...run.environment.secrets])]
  return run.store.secrets.current(run.row.environmentId, names, `${run.row.config.application}/${run.environmentName}`)
}
