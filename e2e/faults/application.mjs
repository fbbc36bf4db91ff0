// An application with faults, which version.txt names, word by word; with @SERVER behind, on that server alone:
//   page=MS         pages take so long
//   deaf            ignores SIGTERM
//   abrupt          ends at once on SIGTERM, with requests in flight
//   ready=MS        pages answer 503 for so long after the start; /healthz says 200 all the same
//   keepalive=MS    keeps idle connections for so long; a request over one that was idle for longer meets its end: a race, made certain
//   boot=MS         listens only after so long
import http from 'node:http'
import { existsSync, readFileSync } from 'node:fs'
import net from 'node:net'

const words = readFileSync(new URL('version.txt', import.meta.url), 'utf8')
  .trim()
  .split(/\s+/)
const fault = (name) => {
  const found = words.find((word) => new RegExp(`^${name}(=\\d+)?(@${process.env.DPLOY_SERVER})?$`).test(word))
  return found === undefined ? null : Number(/=(\d+)/.exec(found)?.[1] ?? 1)
}
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const started = performance.now()
const lastUsed = new WeakMap()
const keepAlive = fault('keepalive') ?? 75_000
let stopping = false

const server = http.createServer(async (request, response) => {
  const { socket } = request
  const idle = performance.now() - (lastUsed.get(socket) ?? performance.now())
  if (idle > keepAlive) return void socket.destroy()
  response.on('finish', () => lastUsed.set(socket, performance.now()))
  if (stopping) response.setHeader('connection', 'close')
  if (request.url === '/healthz') return void response.end('ok\n')
  if (request.url.startsWith('/assets/')) {
    const file = new URL(`public${request.url}`, import.meta.url)
    response.statusCode = existsSync(file) ? 200 : 404
    return void response.end(existsSync(file) ? readFileSync(file) : 'not found\n')
  }
  if (performance.now() - started < (fault('ready') ?? 0)) {
    response.statusCode = 503
    return void response.end('not ready\n')
  }
  await wait(fault('page') ?? 0)
  response.end(`${words[0]}\n`)
})
server.keepAliveTimeout = Math.max(keepAlive, 1_000)
setTimeout(() => server.listen(process.env.LISTEN_FDS ? { fd: 3 } : Number(process.env.PORT)), fault('boot') ?? 0)
process.on('SIGTERM', () => {
  if (fault('deaf') !== null) return
  if (fault('abrupt') !== null) process.exit(0)
  if (process.env.LISTEN_FDS) return endPatiently()
  server.close(() => process.exit(0))
  setInterval(() => server.closeIdleConnections(), 20)
})

// Where nobody has drained it, the balancer keeps connections on which a request may be under way just now.
function endPatiently() {
  stopping = true
  net.Server.prototype.close.call(server, () => process.exit(0))
  setTimeout(() => setInterval(() => server.closeIdleConnections(), 20), 1_000)
}
