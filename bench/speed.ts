// How long deployments take, phase by phase, beside rsync and a restart on the same servers in the same run.
// Run: bench/run speed            (root on Debian; about four minutes; 2.5 GB of memory)
//      bench/run speed small      only the small application; `large`: only the large one; `--rounds N`: 3 by default
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { randomBytes } from 'node:crypto'
import { unavailable } from '../e2e/fleet/fleet.ts'
import { freePorts, World, type Outcome } from '../e2e/world.ts'
import { startUsers, type Seen } from '../e2e/traffic/users.ts'
import { Rsync, rsyncSections, type RsyncTimes } from './rsync.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '3' } },
})
const rounds = Number(values.rounds)
const missing = unavailable()
if (missing !== null) throw new Error(`The fleet cannot run here: ${missing}`)
/** What large() judges: half of the servers at a time, which is the fastest that users do not notice here. */
const judgedBatch = '50%'
const wanted = (part: string) => positionals.length === 0 || positionals.includes(part)
const failures: string[] = []
if (wanted('small')) await small()
if (wanted('large')) await large()
for (const failure of failures) process.stdout.write(`NOT REACHED: ${failure}\n`)
process.exitCode = failures.length === 0 ? 0 : 1

interface Sample {
  /** Of the whole command, with the start of the program. Seconds. */
  command: number
  deployment: number
  seen: Seen
  outcome: Outcome
  /** Of all servers together, and of the control plane. Seconds of processor time. */
  servers: number
  control: number
  /** Share of the machine's processor time meanwhile that neither these, nor this process and what it started, used: a busy machine's figures are not its own. */
  others: number
}

/** A one-line change to 4 and to 32 servers, in batches of 25 % with drain, under load; and rsync to all 32 at once. */
async function small(): Promise<void> {
  const four = await smallOn(4)
  const thirtyTwo = await smallOn(32)
  const [few, many] = [median(four.dploy, 'deployment'), median(thirtyTwo.dploy, 'deployment')]
  const cost = (samples: Sample[]) => median(samples, 'servers') + median(samples, 'control')
  say(`\n32 servers over 4: ${(many / few).toFixed(2)} times the time (${many.toFixed(2)} s, ${few.toFixed(2)} s)`)
  const perServer = median(thirtyTwo.dploy, 'servers') / 32
  say(
    `The servers share this machine's ${cores()} cores. A deployment to 32 costs them ${median(thirtyTwo.dploy, 'servers').toFixed(2)} s of processor time (${(perServer * 1000).toFixed(0)} ms each: agent, systemd,`,
  )
  say(
    `the application's end and start), to 4 ${median(four.dploy, 'servers').toFixed(2)} s; the control plane ${median(thirtyTwo.dploy, 'control').toFixed(2)} and ${median(four.dploy, 'control').toFixed(2)} s. On ${cores()} cores that alone takes`,
  )
  const [floorFew, floorMany] = [cost(four.dploy) / cores(), cost(thirtyTwo.dploy) / cores()]
  say(
    `${floorMany.toFixed(2)} s and ${floorFew.toFixed(2)} s. Over it: ${(many - floorMany).toFixed(2)} s and ${(few - floorFew).toFixed(2)} s, which is what would be left if every server had processors of its own.`,
  )
  const slowest = Math.max(...thirtyTwo.dploy.map(({ command }) => command))
  const fastest = Math.min(...thirtyTwo.rsync.new.map(({ commands }) => commands))
  const command = median(thirtyTwo.dploy, 'command')
  say(`\ndploy, rolling with drain, the whole command: ${command.toFixed(2)} s. rsync and restart of all at once:`)
  const against = (what: string, samples: RsyncTimes[]) =>
    say(
      `  ${what}: ${median(samples, 'commands').toFixed(2)} s, all serving after ${median(samples, 'serving').toFixed(2)} s; dploy takes ${(command / median(samples, 'commands')).toFixed(2)} times as long`,
    )
  against('over new connections, as a person types it (this is what is judged)', thirtyTwo.rsync.new)
  against('over connections that are open already (ControlMaster)', thirtyTwo.rsync.open)
  if (command >= median(thirtyTwo.rsync.new, 'commands'))
    failures.push('32 servers, rolling: slower than rsync and restart of all at once')
  say(
    `slowest of dploy ${slowest.toFixed(2)} s, fastest of rsync over new connections ${fastest.toFixed(2)} s; ${(median(thirtyTwo.dploy, 'others') * 100).toFixed(0)} % of the processor time during a deployment was used by what is not part of this`,
  )
  for (const { seen } of thirtyTwo.dploy)
    if (seen.failed.length > 0) failures.push(`a deployment to 32 servers failed ${seen.failed.length} requests`)
}

async function smallOn(count: number) {
  say(`\n# Small application, one-line change, ${count} servers, batches of 25 % with drain, 100 requests/s`)
  const [frontend] = await freePorts(1)
  await using world = await World.up({ servers: count, strategy: { bake: '0s' }, haproxy: rsyncSections(frontend!) })
  await succeed(world)
  const rsync = await Rsync.prepare(world)
  const result = { dploy: [] as Sample[], rsync: { new: [] as RsyncTimes[], open: [] as RsyncTimes[] } }
  for (let round = 1; round <= rounds; round++) {
    await world.commit({ 'version.txt': `round ${round}\n` }, `Round ${round}`)
    const sample = await measured(world)
    result.dploy.push(sample)
    report(`dploy ${round}`, sample)
    for (const connections of ['new', 'open'] as const) {
      await using users = startUsers({ url: `http://127.0.0.1:${frontend}/`, rate: 100 })
      const times = await rsync.deploy(`${connections}${round}`, { connections })
      const seen = await users.stop()
      result.rsync[connections].push(times)
      say(
        `rsync ${round}, ${connections} connections: commands ${times.commands.toFixed(2)} s, all serving ${times.serving.toFixed(2)} s; users: ${noticed(seen)}`,
      )
    }
  }
  return result
}

/** A one-line change in 20,000 files and 200 MB, to 8 servers. */
async function large(): Promise<void> {
  await using world = await World.up({ servers: 8 })
  const files: Record<string, string> = {}
  for (let index = 0; index < 20_000; index++)
    files[`data/${Math.floor(index / 200)}/${index}.txt`] =
      `line ${index}\n${randomBytes(3_700).toString('hex')}\n`.padEnd(10_000, 'dploy ')
  await world.commit(files, 'Large')
  const first = await succeed(world)
  say(`first: ${first.result.seconds.toFixed(2)} s, ${mega(first.result.receipt!.bytes / 8)} to each`)
  for (const batch of [judgedBatch, '25%']) {
    say(`\n# 20,000 files, 200 MB, one-line change, 8 servers, batches of ${batch} with drain, 100 requests/s`)
    await world.configure({ strategy: { batch, bake: '0s' } })
    await succeed(world)
    const samples: Sample[] = []
    for (let round = 1; round <= rounds; round++) {
      await world.commit(
        { 'data/7/1400.txt': `${files['data/7/1400.txt']}round ${round}, ${batch}\n` },
        `Round ${round}`,
      )
      const sample = await measured(world)
      samples.push(sample)
      report(`dploy ${round}`, sample)
      const most = Math.max(...sample.outcome.result.receipt!.servers.map(({ bytes }) => bytes))
      say(`  sent to a server: ${(most / 1000).toFixed(1)} KB at most`)
      if (most >= 100_000) failures.push(`20,000 files: ${most} bytes were sent to a server`)
      if (sample.seen.failed.length > 0) failures.push(`20,000 files: ${sample.seen.failed.length} requests failed`)
    }
    const command = median(samples, 'command')
    say(
      `median of the whole command ${command.toFixed(2)} s; of the deployment alone ${median(samples, 'deployment').toFixed(2)} s; ${(median(samples, 'others') * 100).toFixed(0)} % of the processor time meanwhile was used by what is not part of this`,
    )
    if (batch === judgedBatch && command >= 1.5)
      failures.push(`20,000 files, batches of ${batch}: the whole command took ${command.toFixed(2)} s, not under 1.5`)
  }
}

async function succeed(world: World): Promise<Outcome> {
  const outcome = await world.dploy('deploy', 'production')
  if (outcome.result.state !== 'succeeded')
    throw new Error(`The deployment ended as ${outcome.result.state}: ${outcome.result.failure?.message}`)
  return outcome
}

async function measured(world: World): Promise<Sample> {
  await quiet(world)
  await using users = startUsers({ url: world.url, rate: 100 })
  const cpu = () => world.servers.reduce((sum, server) => sum + server.cpuSeconds, 0)
  const own = () =>
    cpu() + processSeconds(world.controlPid) + processSeconds(world.haproxyPid) + processSeconds(process.pid)
  const before = { servers: cpu(), control: processSeconds(world.controlPid), own: own(), machine: machineSeconds() }
  const began = performance.now()
  const outcome = await succeed(world)
  const command = (performance.now() - began) / 1000
  const [servers, control] = [cpu() - before.servers, processSeconds(world.controlPid) - before.control]
  const others = Math.max(0, machineSeconds() - before.machine - (own() - before.own)) / (command * cores())
  return { command, deployment: outcome.result.seconds, outcome, servers, control, others, seen: await users.stop() }
}

/** Waits until the servers have done what comes after a deployment (old releases, the next one's tree), which here all share two cores. */
async function quiet(world: World): Promise<void> {
  // They begin with it half a second after the end.
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  // All servers' disks are one here, and what the last deployment wrote is still on its way to it.
  await new Promise((resolve) => spawn('sync').once('close', resolve))
  const end = performance.now() + 30_000
  for (let before = Infinity; performance.now() < end;) {
    const now = world.servers.reduce((sum, server) => sum + server.cpuSeconds, 0)
    if (now - before >= 0 && now - before < 0.02 + world.servers.length * 0.002) return
    before = now
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
}

function report(name: string, { command, deployment, outcome, servers, control, seen }: Sample): void {
  const receipt = outcome.result.receipt!
  say(
    `${name}: ${deployment.toFixed(2)} s, whole command ${command.toFixed(2)} s; processor time: servers ${servers.toFixed(2)} s, control plane ${control.toFixed(2)} s; users: ${noticed(seen)}`,
  )
  say(
    `  phases: ${receipt.phases.map(({ name: phase, start, end }) => `${phase} ${Math.round(end - start)}`).join(', ')} ms; overhead over the floor ${Math.round(receipt.overheadMs)} ms`,
  )
  const spans = new Map<string, number[]>()
  for (const server of receipt.servers)
    for (const span of server.spans) spans.set(span.name, [...(spans.get(span.name) ?? []), span.end - span.start])
  say(
    `  on a server (median, most): ${[...spans].map(([span, times]) => `${span} ${Math.round(middle(times))}/${Math.round(Math.max(...times))}`).join(', ')} ms`,
  )
}

function noticed(seen: Seen): string {
  return `${seen.answers.length} requests, ${seen.failed.length} failed, ${seen.stalled.length} stalled, slowest ${seen.quantile(1).toFixed(0)} ms`
}

/** Processor time of a process so far, and of those it waited for, from /proc/PID/stat (proc(5)): utime, stime, cutime and cstime, in hundredths of a second. */
function processSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0) / 100
}

/** Processor time that the whole machine has used so far, from /proc/stat (proc(5)): all but idle and iowait. */
function machineSeconds(): number {
  const fields = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.split(/ +/).slice(1, 9).map(Number)
  return fields.reduce((sum, field, index) => (index === 3 || index === 4 ? sum : sum + field), 0) / 100
}

function cores(): number {
  return navigator.hardwareConcurrency
}

function median<K extends string>(samples: readonly Record<K, unknown>[], key: K): number {
  return middle(samples.map((sample) => sample[key] as number))
}

function middle(numbers: number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
}

function mega(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
