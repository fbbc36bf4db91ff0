import { resolve } from 'node:path'
import type { Client } from '../client/client.ts'
import type { BuildConfig } from '../protocol/config/config.ts'
import { encodeEntries } from '../protocol/manifest.ts'
import { dataDirectory } from './connect.ts'

/** Makes an artifact of a directory and brings what the control plane lacks of it there. Answers its digest. */
export async function uploadDirectory(client: Client, directory: string, build: BuildConfig): Promise<string> {
  const { artifactOfDirectory } = await import('./embed.ts')
  const packed = await artifactOfDirectory(dataDirectory(process.cwd()), resolve(directory), build)
  const { artifact, missing } = await client.call('offerArtifact', {
    body: { manifest: encodeEntries(packed.manifest.entries) },
  })
  if (missing.length > 0) {
    await client.upload(packed.pack(missing))
    await client.call('offerArtifact', { body: { manifest: encodeEntries(packed.manifest.entries) } })
  }
  return artifact
}
