import { decodeManifest } from '../../../protocol/manifest.ts'
import { bodyOf } from '../call/body.ts'
import type { ApiContext } from '../context.ts'
import type { Handlers } from '../server.ts'

/** Artifacts that a client uploads. */
export function artifactHandlers(
  context: Pick<ApiContext, 'artifacts'>,
): Pick<Handlers, 'offerArtifact' | 'uploadObjects'> {
  return {
    async offerArtifact({ body }) {
      const manifest = decodeManifest(body.manifest)
      return { artifact: manifest.digest, missing: await context.artifacts.offer(manifest) }
    },

    uploadObjects: async ({ request }) => ({ objects: await context.artifacts.receive(bodyOf(request)) }),
  }
}
