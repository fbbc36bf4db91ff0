import type { Digest } from '../../../protocol/manifest.ts'
import type { Revision } from '../../../protocol/release-spec.ts'
import type { DeploymentRow } from '../../store/deployments.ts'
import type { ArtifactSource } from '../run/run.ts'

/** How long the commit that was found counts as the one that the branch is at. Milliseconds. */
const fresh = 3_000

/**
 * Finds the commit, and makes its artifact where that runs no command of the user's, while the lock is taken: it changes nothing,
 * and the servers' round trips are time in which nothing else is to be done.
 */
export class Ahead implements AsyncDisposable {
  readonly #stop = new AbortController()
  readonly #revision: Promise<{ revision: Revision; at: number } | null>
  readonly #artifact: Promise<{ artifact: Digest; cached: boolean; commit: string | null } | null>

  private constructor(row: DeploymentRow, branch: string | null, artifacts: ArtifactSource) {
    const { config, base, request } = row
    const { signal } = this.#stop
    // What goes wrong is found again, and told, when it is its turn.
    this.#revision = artifacts.resolve(config, base, request.revision, branch, signal).then(
      (revision) => ({ revision, at: performance.now() }),
      () => null,
    )
    this.#artifact = this.#revision
      .then(async (found) =>
        found === null || config.build.command !== undefined
          ? null
          : {
              ...(await artifacts.build(config, base, found.revision, { signal, onOutput: () => {} })),
              commit: found.revision.commit,
            },
      )
      .catch(() => null)
  }

  /** Null where nothing can be done before its turn. */
  static of(row: DeploymentRow, branch: string | null, artifacts: ArtifactSource): Ahead | null {
    return row.state === 'queued' && row.kind === 'deploy' && row.releaseId === null && row.request.artifact === null
      ? new Ahead(row, branch, artifacts)
      : null
  }

  /** The commit, if it was found a moment ago. */
  async revision(): Promise<Revision | null> {
    const found = await this.#revision
    return found && performance.now() - found.at < fresh ? { ...found.revision } : null
  }

  /** What was made of a commit, if it was that one. */
  async artifact({ commit }: Revision): Promise<{ artifact: Digest; cached: boolean } | null> {
    const made = await this.#artifact
    return made?.commit === commit ? made : null
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('No longer needed'))
    await this.#artifact
  }
}
