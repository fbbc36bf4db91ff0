import { join } from 'node:path'
import { Artifacts } from '../control/artifacts/artifacts.ts'
import { startControlPlane, type ControlPlane, type ControlPlaneOptions } from '../control/control-plane.ts'
import type { BuildConfig } from '../protocol/config/config.ts'
import type { Digest, Manifest } from '../protocol/manifest.ts'

/** The only place where the CLI starts a control plane; what it says to it goes through the same client as to any other. */
export async function startEmbedded(
  data: string,
  options: Omit<ControlPlaneOptions, 'data' | 'socket'> = {},
): Promise<AsyncDisposable & { socket: string; plane: ControlPlane }> {
  const socket = join(data, `embedded-${process.pid}.sock`)
  const plane = await startControlPlane({ ...options, data, socket })
  return { socket, plane, [Symbol.asyncDispose]: () => plane[Symbol.asyncDispose]() }
}

/** A control plane that serves others too: agents and clients over TCP, this machine's user over the repository's socket. */
export async function startServing(
  data: string,
  options: Omit<ControlPlaneOptions, 'data' | 'socket'>,
): Promise<ControlPlane> {
  return startControlPlane({ ...options, data, socket: join(data, 'control.sock'), exclusive: true })
}

/** An artifact made of a directory on this machine, and packs of its objects to upload. */
export async function artifactOfDirectory(
  data: string,
  directory: string,
  build: Pick<BuildConfig, 'ship' | 'leave_out'>,
): Promise<{ manifest: Manifest; pack(digests: Digest[]): AsyncIterable<Uint8Array> }> {
  const artifacts = new Artifacts(data)
  const signal = new AbortController().signal
  const { artifact } = await artifacts.fromDirectory(directory, build, signal)
  return { manifest: artifacts.manifests.get(artifact), pack: (digests) => artifacts.packs.pack(digests, signal) }
}

export { startDemoBalancer } from '../control/demo/balancer.ts'
export { backUp } from '../control/backup/backup.ts'
export { restore } from '../control/backup/restore.ts'
