import { performance } from 'node:perf_hooks'
import { parentPort, workerData } from 'node:worker_threads'
import { Question } from './question.ts'
import type { Sample } from './sample.ts'

/** What the prober tells its worker at its start. Durations in milliseconds. */
export interface ProberWork {
  url: string
  /** A path that is asked by POST, half of the times; null: none is. */
  post: string | null
  interval: number
  timeout: number
  /** How often samples are handed over. */
  report: number
  /** At the stop, how long answers are still waited for. */
  grace: number
}

export type ProberMessage = { kind: 'samples'; samples: Sample[] } | { kind: 'done'; samples: Sample[] }

if (parentPort !== null && isWork(workerData)) probe(workerData)

/** How one request is made. */
interface Kind {
  connection: 'kept' | 'fresh'
  method: 'GET' | 'POST'
}

/**
 * The next four requests: over kept and over fresh connections alike, where there is something to post by GET and by POST alike, in an
 * order of chance. By turns, a balancer that takes two or four servers by turns would give each server always the same.
 */
export function nextFour(posts: boolean, random: () => number = Math.random): Kind[] {
  const four: Kind[] = (['GET', posts ? 'POST' : 'GET'] as const).flatMap((method) => [
    { connection: 'kept', method },
    { connection: 'fresh', method },
  ])
  // Fisher and Yates.
  for (let last = four.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    ;[four[last], four[other]] = [four[other]!, four[last]!]
  }
  return four
}

/**
 * Asks at a fixed pace, whether or not the answers before have come, half over a kept and half over fresh
 * connections, where it may half by GET and half by POST. A tick that this thread missed (the machine was busy) is not made up for: a burst is not what users send.
 */
function probe(work: ProberWork): void {
  const port = parentPort!
  const question = new Question(work.url, work.timeout, work.post)
  const epoch = Date.now() - performance.now()
  const limit = Math.ceil(work.timeout / work.interval) + 10
  const outstanding = new Set<{ sent: number; abandoned: boolean }>()
  let samples: Sample[] = []
  let ticks = 0
  let four: Kind[] = []
  let timer: NodeJS.Timeout | undefined
  let stopping = false
  const reports = setInterval(() => {
    if (samples.length > 0) port.postMessage({ kind: 'samples', samples: take() } satisfies ProberMessage)
  }, work.report)

  const take = (): Sample[] => {
    const taken = samples
    samples = []
    return taken
  }
  const ask = async () => {
    const request = { sent: performance.now(), abandoned: false }
    outstanding.add(request)
    if (four.length === 0) four = nextFour(work.post !== null)
    const { connection, method } = four.pop()!
    const answer = await question.ask(connection, method)
    outstanding.delete(request)
    if (request.abandoned) return
    samples.push({ at: epoch + request.sent, ms: performance.now() - request.sent, method, ...answer })
    if (stopping && outstanding.size === 0) end()
  }
  const start = performance.now()
  const tick = () => {
    if (outstanding.size < limit) void ask()
    ticks = Math.max(ticks + 1, Math.floor((performance.now() - start) / work.interval) + 1)
    timer = setTimeout(tick, Math.max(0, start + ticks * work.interval - performance.now()))
  }
  const end = () => {
    clearInterval(reports)
    for (const request of outstanding) {
      request.abandoned = true
      const ms = performance.now() - request.sent
      samples.push({
        at: epoch + request.sent,
        ms,
        status: null,
        error: `no answer within ${Math.round(ms)} ms, when the deployment had ended`,
      })
    }
    outstanding.clear()
    question.close()
    port.postMessage({ kind: 'done', samples: take() } satisfies ProberMessage)
    port.close()
  }
  port.once('message', () => {
    stopping = true
    clearTimeout(timer)
    if (outstanding.size === 0) return end()
    setTimeout(() => {
      if (outstanding.size > 0) end()
    }, work.grace).unref()
  })
  // The first address look-up is nobody's wait: a browser has done it long before.
  void question.ready.then(() => {
    if (!stopping) tick()
  })
}

function isWork(data: unknown): data is ProberWork {
  return typeof data === 'object' && data !== null && 'url' in data && 'interval' in data
}
