// What a browser bears of a deployment on 1,000 simulated servers that takes ten minutes and prints 100,000 lines: frames, how late events come, memory.
// Run: bench/run thousand               (12 minutes; Chromium; 1.5 GB of memory)
//      bench/run thousand --minutes 2   shorter, with as many lines
// Control plane, the 1,000 servers, and Chromium (which draws without a graphics card) share this machine's cores; the last columns say how many each took.
import assert from 'node:assert/strict'
import { parseArgs } from 'node:util'
import { processCosts, type Part } from '../e2e/simulated/process-costs.ts'
import { SimulatedWorld } from '../e2e/simulated/world.ts'
import { openBrowser, signInWith, skip } from '../e2e/web/browser.ts'
import { quantile, WatchedPage } from '../e2e/web/watched-page.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    servers: { type: 'string', default: '1000' },
    lines: { type: 'string', default: '100000' },
  },
})
const [minutes, servers, lines] = [Number(values.minutes), Number(values.servers), Number(values.lines)]
if (skip !== false) throw new Error(skip)

/** Servers switch in so many batches, each as long as the next; a tenth of the time is for staging. */
const batches = 40
const perBatch = (minutes * 60_000 * 0.88) / batches
const perServer = Math.ceil(lines / servers)
const mebi = 2 ** 20
const parts: readonly Part[] = ['control plane', 'servers', 'renderer', 'browser']

await using world = await SimulatedWorld.up({
  servers,
  pace: { stage: [50, 500], activate: [50, 500], stageLines: 1, activateLines: 1 },
  strategy: { kind: 'rolling', batch: Math.ceil(servers / batches), bake: '2s' },
})
await using browser = await openBrowser()
const { page } = await browser.open()
await signInWith(page, world.plane.url, await world.token())
// Where nothing runs yet there is nobody to notice: all servers switch at once. It is the next one that goes batch by batch.
assert.equal(await world.over(await world.deploy('Begin')), 'succeeded')
world.setPace({
  stage: [minutes * 1_000, minutes * 6_000],
  activate: [perBatch * 0.7, perBatch],
  stageLines: Math.round(perServer * 0.1),
  activateLines: Math.round(perServer * 0.9),
})
const number = await world.deploy('Ten minutes')
await page.goto(`${world.plane.url}/deployments/${number}`)
// From here on, so that the moment counts at which all servers begin at once.
const watched = await WatchedPage.of(page)
await watched.begin()
let [began, before] = [performance.now(), processCosts()]
await page.getByText(`All ${servers} servers`).waitFor({ state: 'attached' })
const over = world.over(number)
let ended: string | null = null
void over.then((state) => (ended = state))

process.stdout.write(
  `minute  frames/s: median  least  of seconds >= 50   between frames p95  work each   events  late by: median   p95  longest      heap  resident  elements  lines  cores: ${parts.join(', ')}\n`,
)
const all = { perSecond: [] as number[], lags: [] as number[], worst: 0 }
const linesBefore = world.said.lines
const memory: { heap: number; resident: number; lines: number }[] = []
for (let minute = 1; ended === null; minute++) {
  await Promise.race([over, page.waitForTimeout(60_000)])
  const [frames, late] = [await watched.frames(), await watched.late()]
  const seconds = (performance.now() - began) / 1_000
  const after = processCosts()
  if (frames.seconds === 0) break
  const lags = { median: quantile(late, 0.5), p95: quantile(late, 0.95), longest: Math.max(0, ...late) }
  const heap = await watched.heap()
  memory.push({ heap, resident: after.rendererBytes, lines: world.said.lines })
  all.perSecond.push(...frames.perSecond)
  for (const one of late) all.lags.push(one)
  all.worst = Math.max(all.worst, lags.p95)
  const good = frames.perSecond.filter((count) => count >= 50).length / frames.perSecond.length
  process.stdout.write(
    [
      String(minute).padStart(6),
      String(quantile(frames.perSecond, 0.5)).padStart(18),
      String(Math.min(...frames.perSecond)).padStart(7),
      `${(good * 100).toFixed(0)} %`.padStart(19),
      `${frames.p95.toFixed(1)} ms`.padStart(20),
      `${frames.workPerFrame.toFixed(1)} ms`.padStart(11),
      String(late.length).padStart(9),
      `${lags.median.toFixed(0)} ms`.padStart(17),
      `${lags.p95.toFixed(0)} ms`.padStart(6),
      `${lags.longest.toFixed(0)} ms`.padStart(8),
      `${(heap / mebi).toFixed(1)} MiB`.padStart(10),
      `${(after.rendererBytes / mebi).toFixed(0)} MiB`.padStart(9),
      String(await watched.nodes()).padStart(9),
      String(world.said.lines).padStart(7),
      ` ${parts.map((part) => ((after.seconds[part] - before.seconds[part]) / seconds).toFixed(2)).join(', ')}`,
    ].join(' ') + '\n',
  )
  await watched.begin()
  ;[began, before] = [performance.now(), processCosts()]
}
const share = all.perSecond.filter((count) => count >= 50).length / all.perSecond.length
const [first, last] = [memory[0]!, memory.at(-1)!]
const grown = (last.heap - first.heap) / Math.max(1, last.lines - first.lines)
process.stdout.write(
  `\nThe deployment ${await over}, ${world.said.lines - linesBefore} lines were printed; the processes of the servers hold ${(world.said.heap / mebi).toFixed(0)} MiB\n`,
)
process.stdout.write(
  `frames: median ${quantile(all.perSecond, 0.5)} a second, 50 or more in ${(share * 100).toFixed(1)} % of ${all.perSecond.length} seconds; on average ${(all.perSecond.reduce((sum, one) => sum + one, 0) / all.perSecond.length).toFixed(1)}\n`,
)
process.stdout.write(
  `events: ${all.lags.length}, stored until taken in by the page: median ${quantile(all.lags, 0.5).toFixed(0)} ms, p95 ${quantile(all.lags, 0.95).toFixed(0)} ms; the worst minute's p95 ${all.worst.toFixed(0)} ms\n`,
)
process.stdout.write(
  `memory: heap ${(first.heap / mebi).toFixed(1)} MiB after the first minute, ${(last.heap / mebi).toFixed(1)} MiB at the end: ${grown.toFixed(0)} bytes for each line that was printed meanwhile; the page's process holds ${(first.resident / mebi).toFixed(0)} and ${(last.resident / mebi).toFixed(0)} MiB\n`,
)
const missed = [
  quantile(all.perSecond, 0.5) < 50 || share < 0.95 ? 'fewer than 50 frames a second' : '',
  all.worst > 250 ? 'events later than 250 ms' : '',
  last.heap > 150 * mebi || grown > 1_000 ? 'memory grows' : '',
  browser.trouble.join('; '),
].filter(Boolean)
for (const one of missed) process.stdout.write(`NOT REACHED: ${one}\n`)
process.exitCode = missed.length === 0 && ended === 'succeeded' ? 0 : 1
