// What a browser bears of a deployment on 1,000 simulated servers that takes ten minutes and prints 100,000 lines: frames, how late events come, memory.
// Run: bench/run thousand               (12 minutes; Chromium; 1.5 GB of memory)
//      bench/run thousand --minutes 2   shorter, with as many lines
import { parseArgs } from 'node:util'
import { SimulatedWorld } from '../e2e/simulated/world.ts'
import { openBrowser, signInWith, skip } from '../e2e/web/browser.ts'
import { quantile, WatchedPage } from '../e2e/web/watched-page.ts'

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '10' }, servers: { type: 'string', default: '1000' }, lines: { type: 'string', default: '100000' } } })
const [minutes, servers, lines] = [Number(values.minutes), Number(values.servers), Number(values.lines)]
if (skip !== false) throw new Error(skip)

/** Servers switch in so many batches, each as long as the next; a tenth of the time is for staging. */
const batches = 40
const perBatch = (minutes * 60_000 * 0.88) / batches
const perServer = Math.ceil(lines / servers)
const mebi = 2 ** 20

await using world = await SimulatedWorld.up({
  servers,
  pace: { stage: [minutes * 1_000, minutes * 6_000], activate: [perBatch * 0.7, perBatch], stageLines: Math.round(perServer * 0.1), activateLines: Math.round(perServer * 0.9) },
  strategy: { kind: 'rolling', batch: Math.ceil(servers / batches), bake: '2s' },
})
await using browser = await openBrowser()
const { page } = await browser.open()
await signInWith(page, world.plane.url, await world.token())
const number = await world.deploy('Ten minutes')
await page.goto(`${world.plane.url}/deployments/${number}`)
await page.getByText(`All ${servers} servers`).waitFor({ state: 'attached' })
const watched = await WatchedPage.of(page)
const over = world.over(number)
let ended: string | null = null
void over.then((state) => (ended = state))

process.stdout.write('minute  frames/s: median  least  of seconds >= 50   between frames p95  work each   events  late by: median   p95  longest      heap  elements  lines\n')
const all = { perSecond: [] as number[], lags: 0, p95: 0 }
const heaps: { minute: number; heap: number; lines: number }[] = []
for (let minute = 1; ended === null; minute++) {
  await watched.begin()
  await Promise.race([over, page.waitForTimeout(60_000)])
  const [frames, lags] = [await watched.frames(), await watched.lags()]
  const heap = await watched.heap()
  heaps.push({ minute, heap, lines: world.said.lines })
  if (frames.seconds === 0) break
  all.perSecond.push(...frames.perSecond)
  all.lags += lags.count
  all.p95 = Math.max(all.p95, lags.p95)
  const good = frames.perSecond.filter((count) => count >= 50).length / frames.perSecond.length
  process.stdout.write(
    [
      String(minute).padStart(6), String(quantile(frames.perSecond, 0.5)).padStart(18), String(Math.min(...frames.perSecond)).padStart(7), `${(good * 100).toFixed(0)} %`.padStart(19), `${frames.p95.toFixed(1)} ms`.padStart(20),
      `${frames.workPerFrame.toFixed(1)} ms`.padStart(11), String(lags.count).padStart(9), `${lags.median.toFixed(0)} ms`.padStart(17), `${lags.p95.toFixed(0)} ms`.padStart(6), `${lags.longest.toFixed(0)} ms`.padStart(8),
      `${(heap / mebi).toFixed(1)} MiB`.padStart(10), String(await watched.nodes()).padStart(9), String(world.said.lines).padStart(7),
    ].join(' ') + '\n',
  )
}
const share = all.perSecond.filter((count) => count >= 50).length / all.perSecond.length
const [first, last] = [heaps[0]!, heaps.at(-1)!]
const grown = last.heap - first.heap
process.stdout.write(`\nThe deployment ${await over}, ${world.said.lines} lines were printed; the processes of the servers hold ${(world.said.heap / mebi).toFixed(0)} MiB\n`)
process.stdout.write(`frames: median ${quantile(all.perSecond, 0.5)} a second, 50 or more in ${(share * 100).toFixed(1)} % of ${all.perSecond.length} seconds\n`)
process.stdout.write(`events: ${all.lags}; the worst minute's p95 ${all.p95.toFixed(0)} ms\n`)
process.stdout.write(`memory: ${(first.heap / mebi).toFixed(1)} MiB after the first minute, ${(last.heap / mebi).toFixed(1)} MiB at the end: ${(grown / Math.max(1, last.lines - first.lines)).toFixed(0)} bytes for each line that was printed meanwhile\n`)
const missed = [
  quantile(all.perSecond, 0.5) < 50 || share < 0.95 ? 'fewer than 50 frames a second' : '',
  all.p95 > 250 ? 'events later than 250 ms' : '',
  last.heap > 150 * mebi || grown / Math.max(1, last.lines - first.lines) > 1_000 ? 'memory grows' : '',
  browser.trouble.join('; '),
].filter(Boolean)
for (const one of missed) process.stdout.write(`NOT REACHED: ${one}\n`)
process.exitCode = missed.length === 0 && ended === 'succeeded' ? 0 : 1
