import { createZstdDecompress, type ZstdDecompress } from 'node:zlib'
import { DployError } from '../protocol/errors.ts'
import { decodeManifest, type Digest, type Manifest } from '../protocol/manifest.ts'
import { PackReader, type PackSink } from '../protocol/pack.ts'
import type { Peer } from '../protocol/peer.ts'

/** The text of a manifest is not larger; a few bytes of zstd could be unpacked to any size. */
const largestManifest = 256 * 1024 * 1024

/**
 * Objects from the control plane, as they come, into the store: those that were asked for, each in the size that the manifest says, whatever else
 * somebody in between sends. Answers how many bytes travelled. Throws `object.corrupt`.
 */
export async function fetchObjects(
  peer: Peer,
  release: string,
  wanted: ReadonlyMap<Digest, number>,
  sink: PackSink,
  signal: AbortSignal,
): Promise<{ bytes: number }> {
  const left = new Map(wanted)
  const reader = new PackReader({
    begin(object) {
      if (left.get(object.digest) !== object.size)
        throw new DployError(
          'object.corrupt',
          `The object ${object.digest.slice(0, 12)} of ${object.size} bytes came, which nobody asked for`,
        )
      left.delete(object.digest)
      sink.begin(object)
    },
    data: (chunk) => sink.data(chunk),
    end: () => sink.end(),
  })
  const unpack = createZstdDecompress()
  const unpacked = (async () => {
    for await (const chunk of unpack) reader.push(chunk as Buffer)
    reader.finish()
  })()
  // Nothing more is taken once something was wrong.
  const stop = new AbortController()
  unpacked.catch((error: unknown) => stop.abort(error))
  let bytes = 0
  try {
    await peer.call(
      'objects',
      { release, digests: [...wanted.keys()] },
      {
        signal: AbortSignal.any([signal, stop.signal]),
        onEvent: (_event, body) => {
          bytes += body.length
          return taken(unpack, body)
        },
      },
    )
    unpack.end()
    await unpacked
  } finally {
    unpack.destroy()
  }
  return { bytes }
}

/** The whole manifest of an artifact. */
export async function fetchManifest(
  peer: Peer,
  release: string,
  artifact: Digest,
  signal: AbortSignal,
): Promise<Manifest> {
  const unpack = createZstdDecompress()
  const text = (async () => {
    const parts: Buffer[] = []
    let size = 0
    for await (const chunk of unpack) {
      size += (chunk as Buffer).length
      if (size > largestManifest)
        throw new DployError(
          'object.corrupt',
          `The manifest of the release is larger than ${largestManifest / 1024 / 1024} MB`,
        )
      parts.push(chunk as Buffer)
    }
    return Buffer.concat(parts).toString('utf8')
  })()
  const stop = new AbortController()
  text.catch((error: unknown) => stop.abort(error))
  try {
    await peer.call(
      'manifest',
      { release, artifact },
      { signal: AbortSignal.any([signal, stop.signal]), onEvent: (_event, body) => taken(unpack, body) },
    )
    unpack.end()
    return decodeManifest(await text)
  } finally {
    unpack.destroy()
  }
}

/** Gives it more. Where it cannot take more for now: until it can, or ended. */
function taken(unpack: ZstdDecompress, body: Uint8Array): Promise<void> | undefined {
  if (unpack.destroyed || unpack.write(Buffer.from(body))) return undefined
  return new Promise((resolve) => {
    const done = () => {
      unpack.off('drain', done)
      unpack.off('close', done)
      resolve()
    }
    unpack.on('drain', done)
    unpack.on('close', done)
  })
}
