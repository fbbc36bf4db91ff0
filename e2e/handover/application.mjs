// A small application that takes part in a warm hand-over. Tells which version it is; does what version.txt says, word by word:
//   boot=MS         listens only after so long
//   unhealthy       its health check always fails; unhealthy=NAME: on that server
//   dies=MS         ends so long after it listens
//   slow=MS         answers /slow only after so long
import http from 'node:http'
import net from 'node:net'
import { readFileSync } from 'node:fs'

const { env } = process
const text = readFileSync(new URL('version.txt', import.meta.url), 'utf8').trim()
const word = (name) => text.split(/\s+/).find((one) => one === name || one.startsWith(`${name}=`))
const number = (name) => (word(name) === undefined ? null : Number(word(name).split('=')[1]))
const healthy = word('unhealthy') !== 'unhealthy' && word('unhealthy') !== `unhealthy=${env.DPLOY_SERVER}`

let stopping = false
const server = http.createServer((request, response) => {
  response.setHeader('x-release', env.DPLOY_RELEASE ?? '')
  // Who is told so opens a new connection for the next request, which the new release takes.
  if (stopping) response.setHeader('connection', 'close')
  if (request.url === '/healthz') {
    response.statusCode = healthy ? 200 : 500
    return response.end(healthy ? 'ok\n' : 'not ok\n')
  }
  if (request.method === 'POST') return request.pipe(response)
  const answer = `${text.split(/\s+/)[0]} release ${env.DPLOY_RELEASE} on ${env.DPLOY_SERVER}\n`
  if (request.url !== '/slow') return response.end(answer)
  setTimeout(() => response.end(answer), number('slow') ?? 2_000)
})
// Longer than the balancer keeps its connections.
server.keepAliveTimeout = 75_000
// The socket that dploy holds is the first descriptor after the standard ones (sd_listen_fds(3)).
const where = env.LISTEN_FDS === undefined ? { port: Number(env.PORT) } : { fd: 3 }
setTimeout(
  () => {
    server.listen(where, () => console.log(`listening: ${text}`))
    if (number('dies') !== null) setTimeout(() => process.exit(3), number('dies'))
  },
  number('boot') ?? 0,
)
process.on('SIGTERM', () => {
  stopping = true
  // Nothing new is taken. http's own close() would close idle connections, on which a request may be under way just now.
  net.Server.prototype.close.call(server, () => process.exit(0))
  setTimeout(() => server.closeIdleConnections(), 5_000)
})
