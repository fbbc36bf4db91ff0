// What real applications have, for tests: quick pages, slow pages, uploads and WebSockets. It ends as a well-behaved one does.
//   GET  /         a page          GET  /healthz   its health check
//   GET  /slow     takes 2 s       POST /          answers with what it got
//   WebSocket      answers each message with the server's name, the release and the message
import http from 'node:http'
import net from 'node:net'
import { WebSocketServer } from './ws/wrapper.mjs'

const { DPLOY_SERVER: name = '', DPLOY_RELEASE: release = '', PORT: port, LISTEN_FDS, PATIENT } = process.env
let stopping = false
const server = http.createServer((request, response) => {
  response.setHeader('x-release', release)
  response.setHeader('x-server', name)
  if (stopping) response.setHeader('connection', 'close')
  if (request.method === 'POST') return request.pipe(response)
  if (request.url === '/slow') return setTimeout(() => response.end('slow\n'), 2_000)
  response.end(request.url === '/healthz' ? 'ok\n' : `release ${release} on ${name}\n`)
})
// Longer than the balancer keeps its connections.
server.keepAliveTimeout = 75_000
const connections = new Set()
server.on('connection', (connection) => {
  connections.add(connection)
  connection.once('close', () => connections.delete(connection))
})
const sockets = new WebSocketServer({ server })
sockets.on('connection', (socket) => {
  socket.on('error', () => {})
  socket.on('message', (message) => socket.send(`${name} ${release} ${message}`))
})
server.listen(LISTEN_FDS === undefined ? { port: Number(port) } : { fd: 3 })
process.on('SIGTERM', () => {
  if (PATIENT !== undefined) return endPatiently()
  server.close(() => process.exit(0))
  // 1001: going away. Whoever reads it connects again.
  for (const socket of sockets.clients) socket.close(1001)
  setInterval(closeIdle, 20)
})

// Where nobody has drained it: users, or the balancer, keep connections on which a request may be under way just now.
function endPatiently() {
  stopping = true
  net.Server.prototype.close.call(server, () => process.exit(0))
  for (const socket of sockets.clients) socket.close(1001)
  setTimeout(closeIdle, 5_000)
}

function closeIdle() {
  server.closeIdleConnections()
  // Proxies written in Go open connections ahead. Node does not count those as idle on which nothing was ever asked, and would wait for them.
  for (const connection of connections) if (connection.bytesRead === 0) connection.destroy()
}
