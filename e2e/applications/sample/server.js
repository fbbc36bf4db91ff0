// The application that the end-to-end tests deploy. It says who it is in every answer, and behaves as badly as behaviour.json asks:
//   version                what it calls itself
//   bootMilliseconds       waits so long before it listens
//   answerMilliseconds     takes so long for every answer but /healthz
//   neverHealthy           /healthz answers 503
//   exitAfterMilliseconds  exits with code 1 so long after its first healthy answer
//   ignoreTermination      does not end on SIGTERM
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { hostname } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'

const behaviour = JSON.parse(readFileSync(new URL('behaviour.json', import.meta.url), 'utf8'))
const identity = {
  version: String(behaviour.version),
  release: process.env.DPLOY_RELEASE ?? 'none',
  server: process.env.DPLOY_SERVER ?? hostname(),
  hostname: hostname(),
  pid: process.pid,
}
let ending = false

const server = createServer(async (request, response) => {
  response.setHeader('x-release', identity.version)
  response.setHeader('x-server', identity.server)
  // A connection whose request was under way when the end began is idle only now.
  response.once('close', () => ending && setImmediate(() => server.closeIdleConnections()))
  const { pathname } = new URL(request.url, 'http://sample')
  if (pathname === '/healthz') return health(response)
  if (behaviour.answerMilliseconds) await delay(behaviour.answerMilliseconds)
  if (request.method === 'POST') return echo(request, response)
  if (pathname === '/environment')
    return json(
      response,
      Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(PATH|HOME)$/.test(name))),
    )
  json(response, identity)
})

// Longer than any balancer keeps its own idle connections, so that it never sends a request on one that closes here.
server.keepAliveTimeout = 75_000
server.headersTimeout = 80_000

process.on('SIGTERM', () => {
  if (behaviour.ignoreTermination) return
  ending = true
  server.close(() => process.exit(0))
})

await delay(behaviour.bootMilliseconds ?? 0)
server.listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? '0.0.0.0', () =>
  console.log(`sample ${identity.version} listens on port ${server.address().port}`),
)

function health(response) {
  if (behaviour.neverHealthy) {
    response.statusCode = 503
    return response.end('not healthy, as asked\n')
  }
  response.end('ok\n')
  if (behaviour.exitAfterMilliseconds === undefined) return
  setTimeout(() => {
    console.error('exiting, as asked')
    process.exit(1)
  }, behaviour.exitAfterMilliseconds)
}

function echo(request, response) {
  response.setHeader('content-type', request.headers['content-type'] ?? 'application/octet-stream')
  request.pipe(response)
}

function json(response, value) {
  response.setHeader('content-type', 'application/json')
  response.end(`${JSON.stringify(value)}\n`)
}
