// A small application for tests: tells which version it is; misbehaves when version.txt says so, word by word:
//   boot=MS         listens only after so long
//   unhealthy       its health check always fails; unhealthy=NAME: on that server
//   dies=MS         ends so long after its first healthy answer
//   fails=SHARE     answers so many of its pages with 500
//   takes=MS        answers its pages after so long
//   needs=PATH      is healthy only while there is such a file
//   keepalive=MS    keeps idle connections only so long
//   deaf            ignores SIGTERM
import http from 'node:http'
import { existsSync, readFileSync } from 'node:fs'

const text = readFileSync(new URL('version.txt', import.meta.url), 'utf8').trim()
const word = (name) => text.split(/\s+/).find((one) => one === name || one.startsWith(`${name}=`))
const number = (name) => (word(name) === undefined ? null : Number(word(name).split('=')[1]))

let dying = false
const server = http.createServer((request, response) => {
  response.setHeader('x-release', process.env.DPLOY_RELEASE ?? '')
  if (request.url === '/healthz') {
    const ill =
      word('unhealthy') === 'unhealthy' ||
      word('unhealthy') === `unhealthy=${process.env.DPLOY_SERVER}` ||
      (word('needs') && !existsSync(word('needs').split('=')[1]))
    response.statusCode = ill ? 500 : 200
    response.end(response.statusCode === 200 ? 'ok\n' : 'not ok\n')
    if (response.statusCode === 200 && number('dies') !== null && !dying) {
      dying = true
      setTimeout(() => process.exit(3), number('dies'))
    }
    return
  }
  if (word('fails') && Math.random() < number('fails')) response.statusCode = 500
  if (request.method === 'POST') return request.pipe(response)
  const answer = () =>
    response.end(`${text.split(/\s+/)[0]} release ${process.env.DPLOY_RELEASE} on ${process.env.DPLOY_SERVER}\n`)
  if (word('takes')) setTimeout(answer, number('takes'))
  else answer()
})
// Longer than the balancer keeps its connections.
server.keepAliveTimeout = number('keepalive') ?? 75_000
setTimeout(() => server.listen(Number(process.env.PORT), () => console.log(`listening: ${text}`)), number('boot') ?? 0)
process.on('SIGTERM', () => {
  if (word('deaf')) return
  server.close(() => process.exit(0))
  setInterval(() => server.closeIdleConnections(), 20)
})
