import type { Digest } from '../../../protocol/manifest.ts'

/** What a server keeps, as it says; null: it does not answer. */
export interface KeptReleases {
  server: string
  kept: readonly { number: number; artifact: Digest }[] | null
}

export interface Readiness {
  number: number
  /** Servers that keep it: going to it moves no file there. */
  ready: number
  /** Servers that answer and do not keep it; at most `mostNamed` of them. */
  lacking: { server: string; bytes: number | null }[]
  lackingServers: number
}

/** Servers that are named for each release, and releases for which what is missing is counted: both are for people to read. */
const mostNamed = 20
const mostCounted = 20

/** The sizes of an artifact's objects by digest; null where that is not known any more. */
export type Objects = (artifact: Digest) => ReadonlyMap<Digest, number> | null

/**
 * Where releases are ready to be activated, and how much would have to be sent where they are not. Bytes are those of the objects that a server has in no release that it
 * keeps, before compression. Servers that keep the same releases lack the same, so it is counted once for them.
 */
export async function readinessOf(
  releases: readonly { number: number; artifact: Digest }[],
  servers: readonly KeptReleases[],
  objects: Objects,
): Promise<Readiness[]> {
  const answering = servers.filter(
    (server): server is KeptReleases & { kept: NonNullable<KeptReleases['kept']> } => server.kept !== null,
  )
  // Of one number there may be another release: somebody began to count anew.
  const nameOf = (release: { number: number; artifact: Digest }) => `${release.number} ${release.artifact}`
  const keptBy = new Map(answering.map(({ server, kept }) => [server, new Set(kept.map(nameOf))]))
  const artifactsOf = new Map(
    answering.map(({ server, kept }) => [server, [...new Set(kept.map(({ artifact }) => artifact))].sort()]),
  )
  const known = new Map<string, ReadonlySet<Digest>>()
  const present = (artifacts: readonly Digest[]): ReadonlySet<Digest> => {
    const key = artifacts.join(' ')
    const found = known.get(key) ?? new Set(artifacts.flatMap((artifact) => [...(objects(artifact)?.keys() ?? [])]))
    known.set(key, found)
    return found
  }
  const result: Readiness[] = []
  let counted = 0
  for (const { number, artifact } of releases) {
    const without = answering.filter(({ server }) => !keptBy.get(server)!.has(nameOf({ number, artifact })))
    const counts = without.length > 0 && counted++ < mostCounted
    const sizes = counts ? objects(artifact) : null
    const missing = new Map<string, number>()
    const bytesFor = (artifacts: readonly Digest[]): number | null => {
      if (sizes === null) return null
      const key = artifacts.join(' ')
      const bytes = missing.get(key) ?? bytesMissing(sizes, present(artifacts))
      missing.set(key, bytes)
      return bytes
    }
    result.push({
      number,
      ready: answering.length - without.length,
      lacking: without.slice(0, mostNamed).map(({ server }) => ({ server, bytes: bytesFor(artifactsOf.get(server)!) })),
      lackingServers: without.length,
    })
    // Manifests can be large: others get their turn between two of them.
    if (counts) await new Promise((resolve) => setImmediate(resolve))
  }
  return result
}

function bytesMissing(sizes: ReadonlyMap<Digest, number>, present: ReadonlySet<Digest>): number {
  let bytes = 0
  for (const [digest, size] of sizes) if (!present.has(digest)) bytes += size
  return bytes
}
