import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { Peer, type Carrier, type Handler } from '../../src/protocol/peer.ts'
import { helloText, readPrivateKey, signText } from '../../src/protocol/signature.ts'
import { socketCarrier } from '../../src/protocol/socket-carrier.ts'
import { protocolNumber } from '../../src/protocol/version.ts'

/** Who somebody says that he is: a server's id and a private key, PEM. */
export interface Claim {
  server: string
  privateKey: string
}

/** A WebSocket to where agents arrive, open, and the end of it when that comes. */
export async function openSocket(
  url: string,
  headers: Record<string, string> = {},
): Promise<{ socket: WebSocket; ended: Promise<{ code: number; reason: string }> }> {
  const socket = new WebSocket(`${url.replace('http:', 'ws:')}/agents/connect`, { headers, perMessageDeflate: false })
  const ended = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() })),
  )
  socket.on('error', () => {})
  await Promise.race([once(socket, 'open'), ended.then(({ code }) => Promise.reject(new Error(`refused: ${code}`)))])
  return { socket, ended }
}

type Change = (hello: Record<string, unknown>) => Record<string, unknown>

/** Connects as an agent does, with a claim that may be wrong. `change` tampers with the hello; `command`: how it obeys. */
export async function arrive(
  url: string,
  claim: Claim,
  change: Change = (hello) => hello,
  command?: Handler,
): Promise<Peer & { socket: WebSocket }> {
  const socket = new WebSocket(`${url.replace('http:', 'ws:')}/agents/connect`, { perMessageDeflate: false })
  // At once: the hello may come with the answer to the handshake.
  const carrier = new Promise<Carrier>((resolve, reject) => {
    socket.once('open', () => resolve(socketCarrier(socket)))
    socket.once('error', reject)
  })
  const peer: Peer = new Peer(await carrier, {
    ...(command && { command }),
    hello: async (params) => {
      const { nonce } = params as { nonce: string }
      const signature = signText(readPrivateKey(claim.privateKey), helloText(nonce, claim.server))
      return change({
        protocol: protocolNumber,
        server: claim.server,
        signature,
        version: '0.0.0',
        platform: 'linux-x64',
        instance: 'stranger',
        clock: Date.now(),
      })
    },
  })
  return Object.assign(peer, { socket })
}

/** Connects with a claim that is right, and waits until it was checked. */
export async function welcomed(url: string, claim: Claim, command?: Handler): Promise<Peer & { socket: WebSocket }> {
  const peer = await arrive(url, claim, undefined, command)
  for (;;) {
    const code = await peer.call('objects', { release: 'none', digests: [] }).then(
      () => 'none',
      (error: { code: string }) => error.code,
    )
    if (code !== 'unauthorized') return peer
    await delay(10)
  }
}

/** The identity that an agent keeps in its state directory. */
export function identityOf(root: string): Claim {
  return JSON.parse(readFileSync(join(root, 'var/lib/dploy/identity.json'), 'utf8')) as Claim
}

/** A bare connection on which these bytes were sent, and what came back until it ended. */
export async function sendBytes(
  url: string,
  bytes: string | Buffer,
): Promise<{ socket: Socket; answer: Promise<string> }> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
  const answer = new Promise<string>((resolve) => socket.once('close', () => resolve(text)))
  await once(socket, 'connect')
  socket.write(bytes)
  return { socket, answer }
}
