import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { unavailable } from '../e2e/fleet/fleet.ts'
import { startUsers, type Seen } from '../e2e/traffic/users.ts'
import { World, type Outcome } from '../e2e/world.ts'

/**
 * Warm hand-over on a fleet behind HAProxy, under load, beside restart-and-drain in the same run: bench/run handover.
 * What counts is the time from the commit point to the last switch over the application's own readiness, and that of
 * a rollback to a release that is still warm. Ends with 1 where a bound is missed or a request failed.
 */
const { values } = parseArgs({
  options: {
    servers: { type: 'string', default: '8' },
    rounds: { type: 'string', default: '3' },
    rate: { type: 'string', default: '100' },
  },
})
const [servers, rounds, rate] = [Number(values.servers), Number(values.rounds), Number(values.rate)]
/** Milliseconds, on 8 servers. */
const bounds = { switch: 500, rollback: 300 }
const application = readFileSync(new URL('../e2e/handover/application.mjs', import.meta.url), 'utf8')

interface Row {
  what: string
  /** From the commit point to the last switch. */
  switched: number[]
  /** Of it, the slowest server's start until healthy. By port that was before; that it is asked once more is dploy's own time. */
  ready: number[]
  /** The whole deployment without bake time. */
  whole: number[]
  /** The longest that any server was out of traffic. */
  out: number[]
  seen: Seen[]
}

const failures: string[] = []
const reason = unavailable()
if (reason !== null) {
  process.stdout.write(`skipped: ${reason}\n`)
} else {
  const rows = await measure()
  print(rows)
  for (const row of rows) {
    for (const seen of row.seen)
      if (seen.failed.length > 0)
        failures.push(`${row.what}: ${seen.failed.length} of ${seen.answers.length} requests failed`)
    const over = median(row.switched.map((ms, index) => ms - row.ready[index]!))
    if (row.what.startsWith('warm') && row.what.endsWith('deployment') && over >= bounds.switch)
      failures.push(`${row.what}: ${Math.round(over)} ms over the application's readiness`)
    if (row.what === 'warm by port, rollback' && median(row.whole) >= bounds.rollback)
      failures.push(`${row.what}: ${Math.round(median(row.whole))} ms from the command's arrival to the last switch`)
  }
  for (const failure of failures) process.stdout.write(`MISSED ${failure}\n`)
  process.exitCode = failures.length === 0 ? 0 : 1
}

async function measure(): Promise<Row[]> {
  await using world = await World.up({
    servers,
    service: { health: { path: '/healthz', timeout: '20s' } },
    strategy: { bake: '0s' },
  })
  const rows: Row[] = []
  let version = 0
  const next = (text = '') =>
    world.commit({ 'server.mjs': application, 'version.txt': `v${++version} ${text}\n` }, `Version ${version}`)
  for (const [handover, what] of [
    ['restart', 'restart and drain'],
    ['socket', 'warm by socket'],
    ['port', 'warm by port'],
  ] as const) {
    await world.configure({ service: { handover } })
    await next()
    await succeed(world.dploy('deploy', 'production'))
    const deployment = emptyRow(`${what}, deployment`)
    const rollback = emptyRow(`${what}, rollback`)
    for (let round = 0; round < rounds; round++) {
      await next()
      await add(deployment, world, () => world.dploy('deploy', 'production'))
      await add(rollback, world, () => world.dploy('rollback', 'production'))
    }
    rows.push(deployment, rollback)
  }
  return rows
}

async function add(row: Row, world: World, work: () => Promise<Outcome>): Promise<void> {
  await using users = startUsers({ url: world.url, rate })
  const { result } = await succeed(work())
  row.seen.push(await users.stop())
  const receipt = result.receipt!
  const activate = receipt.phases.find(({ name }) => name === 'activate')!
  const spans = receipt.servers.map(({ spans }) => spans.filter(({ start }) => start >= activate.start))
  row.switched.push(activate.end - activate.start)
  row.ready.push(
    Math.max(
      ...spans.map((own) =>
        own
          .filter(({ name }) => name === 'boot' || (name === 'health' && !row.what.startsWith('warm by port')))
          .reduce((sum, { start, end }) => sum + end - start, 0),
      ),
    ),
  )
  row.whole.push(
    receipt.phases.filter(({ name }) => name !== 'bake').reduce((sum, { start, end }) => sum + end - start, 0),
  )
  row.out.push(
    Math.max(
      0,
      ...spans.map(
        (own) =>
          (own.find(({ name }) => name === 'register')?.end ?? 0) -
          (own.find(({ name }) => name === 'drain')?.start ?? 0),
      ),
    ),
  )
}

async function succeed(outcome: Promise<Outcome>): Promise<Outcome> {
  const { result } = await outcome
  if (result.state !== 'succeeded')
    throw new Error(`The deployment ended as ${result.state}: ${result.failure?.message}`)
  return outcome
}

function print(rows: readonly Row[]): void {
  process.stdout.write(`${servers} servers, ${rounds} rounds, ${rate} requests/s; medians in ms\n\n`)
  process.stdout.write(
    `${'what'.padEnd(32)} ${['commit to last switch', 'of it readiness', 'over it', 'whole', 'out of traffic', 'requests', 'failed', 'stalled', 'p99'].map((name) => name.padStart(10)).join('  ')}\n`,
  )
  for (const row of rows) {
    const answers = row.seen.flatMap(({ answers }) => answers)
    const times = answers.map(({ ms }) => ms).sort((a, b) => a - b)
    const cells: [string, number][] = [
      ['commit to last switch', median(row.switched)],
      ['of it readiness', median(row.ready)],
      ['over it', median(row.switched.map((ms, index) => ms - row.ready[index]!))],
      ['whole', median(row.whole)],
      ['out of traffic', median(row.out)],
      ['requests', answers.length],
      ['failed', row.seen.reduce((sum, { failed }) => sum + failed.length, 0)],
      ['stalled', row.seen.reduce((sum, { stalled }) => sum + stalled.length, 0)],
      ['p99', times[Math.floor(times.length * 0.99)] ?? 0],
    ]
    process.stdout.write(
      `${row.what.padEnd(32)} ${cells.map(([name, value]) => String(Math.round(value)).padStart(Math.max(10, name.length))).join('  ')}\n`,
    )
  }
}

function emptyRow(what: string): Row {
  return { what, switched: [], ready: [], whole: [], out: [], seen: [] }
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
}
