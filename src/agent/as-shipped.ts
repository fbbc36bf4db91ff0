import type { StepEvent } from '../protocol/agent-messages.ts'
import { DployError } from '../protocol/errors.ts'
import type { Peer } from '../protocol/peer.ts'
import type { ReleaseSpec } from '../protocol/release-spec.ts'
import type { ApplicationDirectory } from './application-directory.ts'
import { fetchManifest, fetchObjects } from './fetch.ts'
import { stageRelease } from './stage.ts'

/** So many of the files that were changed are named. */
const named = 3

/**
 * Before a release that is here is started: looks whether its files are what its commit says, and puts back what is not, from the
 * store or from the control plane. One that serves is left alone, and so is one that was looked at moments ago. Throws
 * `release.changed`.
 */
export async function makeAsShipped(
  directory: ApplicationDirectory,
  release: ReleaseSpec,
  { peer, signal, step }: { peer: Peer; signal: AbortSignal; step: (event: StepEvent) => void },
): Promise<void> {
  if (directory.current() === release.number || directory.isFresh(release.number)) return
  try {
    const { changed } = await stageRelease({
      directory,
      spec: release,
      from: release.artifact,
      delta: new Uint8Array(0),
      signal,
      keepOthers: true,
      fetchObjects: (wanted, sink, stop) => fetchObjects(peer, release.id, wanted, sink, stop),
      fetchManifest: (artifact, stop) => fetchManifest(peer, release.id, artifact, stop),
    })
    tellChanged(release, changed, step)
  } catch (error) {
    if (!(error instanceof DployError) || signal.aborted || error.code === 'connection.closed') throw error
    throw new DployError(
      'release.changed',
      `Release ${release.number} is not started: its files are not those of its commit any more, and cannot be put back: ${error.message}`,
      { cause: error },
    )
  }
}

/** Says which files of a release were written to since it was made. */
export function tellChanged(release: ReleaseSpec, changed: readonly string[], step: (event: StepEvent) => void): void {
  if (changed.length === 0) return
  const files = changed.slice(0, named).join(', ')
  const more = changed.length > named ? ` and ${changed.length - named} more` : ''
  const user = release.service?.user ?? 'the user of its service'
  step({
    kind: 'note',
    text: `files of release ${release.number} had been changed on this server since it was made, and are as shipped again: ${files}${more}. Name what ${user} may write to in release.writable or release.shared`,
  })
}
