import { createServer } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { SimulatedServer, type Pace } from './server.ts'

/** One process that stands for many servers: `servers-process.ts --control URL --count N --pace JSON`, with the token in DPLOY_JOIN_TOKEN. Each line of its standard input is another pace; it ends with that. */
const { values } = parseArgs({
  options: {
    control: { type: 'string' },
    count: { type: 'string' },
    pace: { type: 'string' },
    port: { type: 'string' },
  },
})
const [control, count] = [values.control!, Number(values.count)]
const pace = JSON.parse(values.pace!) as Pace
const atOnce = 25

process.stdin.on('end', () => process.exit(0)).on('error', () => process.exit(0))
createInterface({ input: process.stdin }).on('line', (line) => Object.assign(pace, JSON.parse(line)))

// What the deployment's probe asks, as if it were the application behind its balancer.
createServer((_, response) => setTimeout(() => response.end('ok'), 2 + Math.random() * 6)).listen(
  Number(values.port),
  '127.0.0.1',
)

const servers: SimulatedServer[] = []
for (let start = 1; start <= count; start += atOnce) {
  const names = Array.from({ length: Math.min(atOnce, count - start + 1) }, (_, index) => `web${start + index}`)
  servers.push(
    ...(await Promise.all(
      names.map((name) => SimulatedServer.join(control, name, process.env.DPLOY_JOIN_TOKEN!, pace)),
    )),
  )
}
for (let start = 0; start < count; start += atOnce)
  await Promise.all(servers.slice(start, start + atOnce).map((server) => server.connect()))
process.stdout.write(`${JSON.stringify({ connected: servers.length })}\n`)
for (;;) {
  await delay(1_000)
  process.stdout.write(
    `${JSON.stringify({ connected: servers.filter(({ open }) => open).length, commands: SimulatedServer.commands, lines: SimulatedServer.lines, heap: process.memoryUsage().rss })}\n`,
  )
}
