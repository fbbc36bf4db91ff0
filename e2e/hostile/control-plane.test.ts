import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { newKeyPair, publicKeyOf, readPrivateKey } from '../../src/protocol/signature.ts'
import { memoryOf } from '../commands/team.ts'

const agentMain = fileURLToPath(new URL('../../src/agent/main.ts', import.meta.url))
const megabyte = 1024 * 1024

/** The head of a WebSocket frame that announces so many bytes (RFC 6455, 5.2). */
function announced(first: number, length: number): Buffer {
  const head = Buffer.alloc(10)
  head[0] = first
  head[1] = 127
  head.writeBigUInt64BE(BigInt(length), 2)
  return head
}

/** Writes as fast as the other end takes it, until that closes. */
async function pour(socket: Socket, pieces: Iterable<Buffer>): Promise<void> {
  const gone = new AbortController()
  socket.once('close', () => gone.abort())
  for (const piece of pieces) {
    if (socket.destroyed) return
    if (!socket.write(piece)) await once(socket, 'drain', { signal: gone.signal }).catch(() => {})
  }
}

function* times(count: number, ...pieces: Buffer[]): Generator<Buffer> {
  for (let index = 0; index < count; index++) yield* pieces
}

const binary = 0x82
const piece = Buffer.alloc(megabyte)
const hostile: Record<string, ((socket: Socket) => Promise<void>) | null> = {
  'sends a frame of 100 MB': (socket) => pour(socket, [announced(binary, 100 * megabyte), ...times(100, piece)]),
  'sends a message that does not end': (socket) =>
    pour(socket, [announced(0x02, megabyte), piece, ...times(999, announced(0x00, megabyte), piece)]),
  'sends a frame whose lengths do not fit': (socket) =>
    pour(socket, [Buffer.from([binary, 8, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1])]),
  'sends garbage in place of frames': (socket) => pour(socket, [Buffer.alloc(65_536, 0xff)]),
  'says nothing once it is connected': async () => {},
  'never answers the handshake': null,
}

describe(
  'an agent whose control plane',
  { skip: process.platform === 'linux' ? false : 'needs /proc', concurrency: true, timeout: 60_000 },
  () => {
    for (const [what, attack] of Object.entries(hostile)) {
      test(`${what} hangs up, dials again, and needs no more memory`, async (context) => {
        const directory = mkdtempSync(join(tmpdir(), 'dploy-false-'))
        const sockets = new Set<Socket>()
        const arrived: number[] = []
        const ended: number[] = []
        const plane = createServer((_, response) =>
          response.end(
            JSON.stringify({ server: 'srv_1', controlKey: publicKeyOf(readPrivateKey(newKeyPair().privateKey)) }),
          ),
        )
        plane.on('connection', (socket: Socket) => sockets.add(socket.on('error', () => {})))
        plane.on('upgrade', (request, socket: Socket) => {
          arrived.push(performance.now())
          // What the other end says is read, and its end of the connection is not answered with ours.
          for (const name of ['end', 'error', 'close']) socket.once(name, () => ended.push(performance.now()))
          socket.resume()
          if (attack === null) return
          const accept = createHash('sha1')
            .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
            .digest('base64')
          socket.write(
            `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
          )
          void attack(socket)
        })
        await new Promise<void>((resolve) => plane.listen(0, '127.0.0.1', resolve))
        const log = openSync(join(directory, 'log'), 'a')
        const args = [
          agentMain,
          'run',
          '--name',
          'web1',
          '--state',
          join(directory, 'state'),
          '--root',
          directory,
          '--join',
          `http://127.0.0.1:${(plane.address() as AddressInfo).port}`,
          '--tethered',
        ]
        const agent = spawn(process.execPath, args, {
          stdio: ['pipe', log, log],
          env: { ...process.env, DPLOY_JOIN_TOKEN: 'dploy_join_false', HTTPS_PROXY: '', https_proxy: '' },
        })
        closeSync(log)
        try {
          for (const deadline = Date.now() + 40_000; arrived.length < 2; await delay(20))
            assert.ok(Date.now() < deadline && agent.exitCode === null, readFileSync(join(directory, 'log'), 'utf8'))
          const most = memoryOf(agent.pid!, 'VmHWM')
          assert.equal(agent.exitCode, null)
          assert.ok(ended.length > 0, 'it hung up before it dialled again')
          if (!/^(says nothing|never)/.test(what)) assert.ok(ended[0]! - arrived[0]! < 5_000, 'it waited for an answer')
          assert.ok(most < 256 * megabyte, `${Math.round(most / megabyte)} MB`)
          context.diagnostic(
            `hung up after ${Math.round(ended[0]! - arrived[0]!)} ms, at most ${Math.round(most / megabyte)} MB`,
          )
        } finally {
          if (agent.exitCode === null) {
            const exit = once(agent, 'exit')
            agent.kill('SIGKILL')
            await exit
          }
          for (const socket of sockets) socket.destroy()
          plane.close()
          rmSync(directory, { recursive: true, force: true })
        }
      })
    }
  },
)
