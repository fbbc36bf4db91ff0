import { DployError } from '../../../protocol/errors.ts'
import type { DeploymentRequest } from '../../store/deployment-request.ts'
import type { Environment } from '../../store/applications.ts'
import { visibleEnvironment } from '../call/access.ts'
import type { Caller } from '../call/caller.ts'
import type { ApiContext } from '../context.ts'

/** The artifact of another environment's release, to be deployed as it is. Throws as for an environment that is not there where the caller may not see it. */
export async function promotedFrom(
  context: ApiContext,
  caller: Caller,
  environment: Environment,
  wanted: { environment: string; release?: number | undefined },
): Promise<Required<Pick<DeploymentRequest, 'promoted'>> & { artifact: string }> {
  const { store } = context
  const source = await store.applications.environmentById(
    await visibleEnvironment(context, caller, environment.application, wanted.environment),
  )
  if (wanted.release === undefined && source.wantedRelease === null)
    throw new DployError('release.unknown', `${source.application}/${source.name} runs nothing yet`, {
      fix: `Run: dploy deploy ${source.name}`,
    })
  const release =
    wanted.release === undefined
      ? await store.releases.get(source.wantedRelease!)
      : await store.releases.byNumber(source.id, wanted.release)
  return {
    artifact: release.spec.artifact,
    promoted: { environment: source.name, release: release.number, revision: release.spec.revision },
  }
}
