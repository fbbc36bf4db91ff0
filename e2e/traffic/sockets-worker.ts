import { parentPort, workerData } from 'node:worker_threads'
import { WebSocket } from 'ws'
import type { SeenSockets, SocketsOptions } from './sockets.ts'

/** Between two messages on a socket, and between two attempts to open one. Milliseconds. */
const messageEvery = 250
const attemptEvery = 100

const { url, count } = workerData as SocketsOptions
const seen: SeenSockets = { opened: 0, refused: 0, messages: 0, ends: [] }
const open = new Set<WebSocket>()
let stopped = false

function hold(index: number): void {
  if (stopped) return
  const socket = new WebSocket(url, { handshakeTimeout: 10_000 })
  let server = ''
  let timer: NodeJS.Timeout | undefined
  let opened = false
  socket.on('error', () => {})
  socket.on('open', () => {
    opened = true
    seen.opened++
    open.add(socket)
    timer = setInterval(() => socket.send(String(index)), messageEvery)
    socket.send(String(index))
  })
  socket.on('message', (data) => {
    seen.messages++
    server = String(data).split(' ')[0]!
  })
  socket.on('close', (code) => {
    clearInterval(timer)
    open.delete(socket)
    if (stopped) return
    if (opened) seen.ends.push({ at: Date.now(), code, server })
    else seen.refused++
    setTimeout(() => hold(index), attemptEvery)
  })
}

for (let index = 0; index < count; index++) hold(index)

parentPort!.on('message', () => {
  stopped = true
  for (const socket of open) socket.terminate()
  parentPort!.postMessage(seen)
  parentPort!.close()
})
