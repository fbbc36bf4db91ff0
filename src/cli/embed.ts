import { join } from 'node:path'
import { startControlPlane, type ControlPlane, type ControlPlaneOptions } from '../control/control-plane.ts'

/** The only place where the CLI starts a control plane; what it says to it goes through the same client as to any other. */
export async function startEmbedded(data: string, options: Omit<ControlPlaneOptions, 'data' | 'socket'> = {}): Promise<AsyncDisposable & { socket: string; plane: ControlPlane }> {
  const socket = join(data, `embedded-${process.pid}.sock`)
  const plane = await startControlPlane({ ...options, data, socket })
  return { socket, plane, [Symbol.asyncDispose]: () => plane[Symbol.asyncDispose]() }
}

/** A control plane that serves others too: agents and clients over TCP, this machine's user over the repository's socket. */
export async function startServing(data: string, options: Omit<ControlPlaneOptions, 'data' | 'socket'>): Promise<ControlPlane> {
  return startControlPlane({ ...options, data, socket: join(data, 'control.sock'), exclusive: true })
}

