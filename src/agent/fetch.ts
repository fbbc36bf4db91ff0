import { createZstdDecompress, type ZstdDecompress } from 'node:zlib'
import { decodeManifest, type Digest, type Manifest } from '../protocol/manifest.ts'
import { PackReader, type PackSink } from '../protocol/pack.ts'
import type { Peer } from '../protocol/peer.ts'

/** Objects from the control plane, as they come, into the store. Answers how many bytes travelled. */
export async function fetchObjects(peer: Peer, release: string, digests: Digest[], sink: PackSink, signal: AbortSignal): Promise<{ bytes: number }> {
  const reader = new PackReader(sink)
  const unpack = createZstdDecompress()
  const unpacked = (async () => {
    for await (const chunk of unpack) reader.push(chunk as Buffer)
    reader.finish()
  })()
  unpacked.catch(() => {})
  let bytes = 0
  try {
    await peer.call('objects', { release, digests }, {
      signal,
      onEvent: (_event, body) => {
        bytes += body.length
        return taken(unpack, body)
      },
    })
    unpack.end()
    await unpacked
  } finally {
    unpack.destroy()
  }
  return { bytes }
}

/** The whole manifest of an artifact. */
export async function fetchManifest(peer: Peer, release: string, artifact: Digest, signal: AbortSignal): Promise<Manifest> {
  const unpack = createZstdDecompress()
  const text = (async () => {
    const parts: Buffer[] = []
    for await (const chunk of unpack) parts.push(chunk as Buffer)
    return Buffer.concat(parts).toString('utf8')
  })()
  text.catch(() => {})
  try {
    await peer.call('manifest', { release, artifact }, { signal, onEvent: (_event, body) => taken(unpack, body) })
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
