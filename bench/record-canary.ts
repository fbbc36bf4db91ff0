// Records the traffic that `bench/run canary` replays: HAProxy's log of four servers, of which web1 answers half as slow again
// and fails ten times as often. Run: node bench/record-canary.ts FILE.gz     (two minutes; needs HAProxy)
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, get, Agent, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { startHaproxy } from '../src/balancers/haproxy/fixture.ts'
import { seeded } from '../src/control/judging/simulation.ts'

const [file] = process.argv.slice(2)
if (file === undefined) throw new Error('Name the file to write')
const seconds = 100
const rate = 150
const random = seeded(2026)
const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())

/** An application whose answers take some 20 ms, log-normal, as those of many do; one in `failsOneIn` fails. */
async function application(slower: number, failsOneIn: number): Promise<Server> {
  let asked = 0
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    if (request.url === '/healthz') return void response.end()
    const status = ++asked % failsOneIn === failsOneIn / 2 ? 500 : 200
    setTimeout(() => response.writeHead(status).end('ok'), 20 * Math.exp(0.6 * normal()) * slower)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

const servers = [await application(1.5, 100), ...(await Promise.all([1, 2, 3].map(() => application(1, 1_000))))]
const port = (server: Server) => (server.address() as AddressInfo).port
const directory = mkdtempSync(join(tmpdir(), 'dploy-record-'))
const lines: string[] = []
const log = createSocket('udp4').bind(0, '127.0.0.1')
await once(log, 'listening')
log.on('message', (message) =>
  lines.push(
    message
      .toString()
      .trimEnd()
      .replace(/^<\d+>/, ''),
  ),
)
const free = await application(1, 2)
const bind = `127.0.0.1:${port(free)}`
free.close()
const haproxy = await startHaproxy({
  directory,
  bind,
  backend: 'web',
  healthPath: '/healthz',
  servers: servers.map((server, index) => ({ name: `web${index + 1}`, address: '127.0.0.1', port: port(server) })),
  configure: (text) =>
    text
      .replace('global\n', `global\n  log 127.0.0.1:${log.address().port} len 1024 local0\n`)
      .replace('mode http\n', 'mode http\n  log global\n  option httplog\n'),
})
const agent = new Agent({ keepAlive: true })
const end = Date.now() + seconds * 1000
while (Date.now() < end) {
  get(`${haproxy.url}/`, { agent }, (answer) => answer.resume()).on('error', () => {})
  await new Promise((resolve) => setTimeout(resolve, (-Math.log(1 - random()) * 1000) / rate))
}
await new Promise((resolve) => setTimeout(resolve, 1_000))
await haproxy[Symbol.asyncDispose]()
agent.destroy()
log.close()
for (const server of servers) server.close().closeAllConnections()
rmSync(directory, { recursive: true })
writeFileSync(file, gzipSync(`${lines.filter((line) => line.includes(' web/')).join('\n')}\n`, { level: 9 }))
process.stdout.write(`${lines.length} lines\n`)
