// How long a small change takes from a laptop to 8 servers that are 20 ms away, with the connections already open, beside
// rsync and a restart over ControlMaster in the same run; and how many round trips each phase waits for.
// Run: bench/run laptop           (root on Debian; about two minutes); `--servers N`, `--rounds N`
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { unavailable } from '../e2e/fleet/fleet.ts'
import { startUsers } from '../e2e/traffic/users.ts'
import { freePorts, World } from '../e2e/world.ts'
import { DelayedLink } from './delay.ts'
import { Rsync, rsyncSections } from './rsync.ts'

/** Of every link. Milliseconds. */
const roundTrip = 20
/** What is aimed at: seconds over boot, health check and the wait for requests in flight, and round trips of a phase. */
const most = { overFloor: 1, roundTrips: 2 }

const { values } = parseArgs({
  options: { servers: { type: 'string', default: '8' }, rounds: { type: 'string', default: '3' } },
})
const missing = unavailable()
if (missing !== null) throw new Error(`The fleet cannot run here: ${missing}`)
const say = (line: string) => void process.stdout.write(`${line}\n`)
const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0

const [frontend] = await freePorts(1)
await using world = await World.up({
  servers: Number(values.servers),
  ssh: 'root',
  strategy: { bake: '0s' },
  haproxy: rsyncSections(frontend!),
})
await using links = new AsyncDisposableStack()
const delayed = new Map<string, DelayedLink>()
for (const server of world.servers)
  delayed.set(server.name, links.use(await DelayedLink.to(server.address, 22, roundTrip)))
const config = join(world.directory, 'delayed-config')
writeFileSync(
  config,
  `${[...delayed].map(([name, { port }]) => `Host ${name}\n  HostName 127.0.0.1\n  Port ${port}\n  HostKeyAlias ${name}\n`).join('')}\n${readFileSync(world.fleet.sshConfig, 'utf8')}`,
)
const deploy = () => world.startIn(world.repository, ['deploy', 'production'], { DPLOY_SSH_CONFIG: config }).outcome

say(
  `${world.servers.length} bare servers behind HAProxy, ${roundTrip} ms round trip on every link, batches of 25 % with drain, 100 requests/s`,
)
const first = await deploy()
if (first.result.state !== 'succeeded') throw new Error(`The first deployment: ${first.result.failure?.message}`)
const rsync = await Rsync.prepare(world, config)
const samples: { command: number; overFloor: number; failed: number }[] = []
const rsyncs: number[] = []
const shared: number[] = []
const cores = navigator.hardwareConcurrency
const trips = new Map<string, number[]>()

for (let round = 1; round <= Number(values.rounds); round++) {
  await world.commit({ 'version.txt': `round ${round}\n` }, `Round ${round}`)
  await using users = startUsers({ url: world.url, rate: 100 })
  // They are there before it begins: their own start is none of its doing.
  await new Promise((resolve) => setTimeout(resolve, 500))
  const busy = () => world.servers.reduce((sum, server) => sum + server.cpuSeconds, 0)
  const before = busy()
  const used: { at: number; seconds: number }[] = []
  const sampling = setInterval(() => used.push({ at: Date.now(), seconds: busy() - before }), 50)
  const began = Date.now()
  const { result } = await deploy()
  const ended = Date.now()
  clearInterval(sampling)
  const seen = await users.stop()
  if (result.state !== 'succeeded') throw new Error(`Round ${round}: ${result.failure?.message}`)
  const receipt = result.receipt!
  const command = (ended - began) / 1000
  const { boot, health } = receipt.floor.parts
  const { inFlight } = receipt.waiting.parts
  const floor = (boot! + health! + inFlight!) / 1000
  const overFloor = command - floor
  samples.push({ command, overFloor, failed: seen.failed.length })
  say(
    `\ndploy ${round}: the whole command ${command.toFixed(2)} s, the deployment ${result.seconds.toFixed(2)} s, boot, health check and requests in flight ${floor.toFixed(2)} s, over it ${overFloor.toFixed(2)} s (ending the old processes ${(receipt.floor.parts.switch! / 1000).toFixed(2)} s, transfer and unpack ${((receipt.floor.parts.transfer! + receipt.floor.parts.unpack!) / 1000).toFixed(2)} s); ${seen.failed.length} of ${seen.answers.length} requests failed`,
  )
  const created = await createdAt(result.deployment!)
  const phases = [
    { name: 'connect', from: began, to: created },
    { name: 'lock', from: created, to: receipt.startedAt },
    ...receipt.phases.map(({ name, start, end }) => ({
      name,
      from: receipt.startedAt + start,
      to: receipt.startedAt + end,
    })),
    { name: 'end', from: receipt.finishedAt, to: ended },
  ]
  for (const { name, from, to } of phases) {
    const most = Math.max(...[...delayed.values()].map((link) => link.roundTrips(from, to)))
    trips.set(name, [...(trips.get(name) ?? []), most])
    say(`  ${name.padEnd(12)} ${String(Math.round(to - from)).padStart(5)} ms   ${most} round trips`)
  }
  // What a server does outside the floor (start an agent, answer, keep the lock), it would do on a processor of its own.
  const usedAt = (at: number) => used.findLast((sample) => sample.at <= at)?.seconds ?? 0
  const seconds = phases
    .filter(({ name }) => name !== 'activate' && name !== 'bake')
    .reduce((sum, { from, to }) => sum + usedAt(to) - usedAt(from), 0)
  say(
    `  outside activate and bake the servers took ${seconds.toFixed(2)} s of processor time, which is ${(seconds / cores).toFixed(2)} s of this machine's ${cores} cores`,
  )
  shared.push(seconds / cores - seconds / world.servers.length)
  const times = await rsync.deploy(`rsync${round}`, { connections: 'open' })
  rsyncs.push(times.commands)
  say(
    `rsync and restart of all at once ${round}: ${times.commands.toFixed(2)} s, all serving after ${times.serving.toFixed(2)} s`,
  )
}

/** When a deployment was asked for: all servers are connected then, and have told what they keep. */
async function createdAt(number: number): Promise<number> {
  const program = fileURLToPath(new URL('../bin/dploy', import.meta.url))
  const { stdout } = await promisify(execFile)(program, ['deployments', String(number), '--json'], {
    cwd: world.repository,
    env: { ...world.environment, DPLOY_SSH_CONFIG: config },
  })
  return (JSON.parse(stdout) as { createdAt: number }).createdAt
}

const over = median(samples.map(({ overFloor }) => overFloor))
say(
  `\ndploy: ${median(samples.map(({ command }) => command)).toFixed(2)} s, ${over.toFixed(2)} s over the floor; rsync and restart over open connections: ${median(rsyncs).toFixed(2)} s`,
)
say(`with processors of its own for each server that would be ${(over - median(shared)).toFixed(2)} s over the floor`)
const failures = [
  ...(over >= most.overFloor ? [`${over.toFixed(2)} s over the floor, ${most.overFloor} s is aimed at`] : []),
  ...[...trips]
    .filter(([, counts]) => median(counts) > most.roundTrips)
    .map(([name, counts]) => `${name}: ${median(counts)} round trips, ${most.roundTrips} are aimed at`),
  ...(samples.some(({ failed }) => failed > 0) ? ['requests failed'] : []),
]
for (const failure of failures) say(`NOT REACHED: ${failure}`)
process.exitCode = failures.length === 0 ? 0 : 1
