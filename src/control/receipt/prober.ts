import { dirname, extname, join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { DployError } from '../../protocol/errors.ts'
import { LiveTraffic, type LiveCounts } from './live-traffic.ts'
import type { ProberMessage, ProberWork } from './prober-worker.ts'
import type { Sample } from './sample.ts'

export interface ProberOptions {
  /** http: or https:. */
  url: string
  /** A path at the same host that takes a POST without a body, and is asked half of the times; none unless told. */
  post?: string | undefined
  /** Milliseconds between two requests; 50 unless told, at least 5. */
  interval?: number
  /** Milliseconds after which a request without an answer has failed; 10,000 unless told. */
  timeout?: number
  /** At the stop, how long answers are waited for that are still out, in milliseconds; 2,000 unless told. */
  grace?: number
  /** Nothing serves at the address before this deployment, so that nothing counts until the first good answer. */
  first?: boolean
  /** Called every 250 ms when something was seen. */
  onCounts?: (counts: LiveCounts) => void
}

export interface Prober extends AsyncDisposable {
  /** What was seen so far, up to 250 ms ago, in order of the answers. */
  samples(): readonly Sample[]
  /** Why the probe ended before it was stopped; null if it did not. What it saw until then stands. */
  failure(): Error | null
  /**
   * Asks no more, and resolves with all samples. Requests that are still unanswered after `grace` count as failed.
   * Calling it again resolves with the same.
   */
  stop(): Promise<readonly Sample[]>
}

/** How often the worker hands over what it saw, in milliseconds. */
const report = 250

/**
 * Asks an address through the balancer all the time, from a thread of its own, so that nothing that the control plane
 * does disturbs the measure. Throws `request.invalid` when the address is not one. The thread does not keep the process alive.
 */
export function startProber(options: ProberOptions): Prober {
  checkUrl(options.url)
  const work: ProberWork = {
    url: options.url,
    post: options.post ?? null,
    interval: Math.max(5, options.interval ?? 50),
    timeout: options.timeout ?? 10_000,
    report,
    grace: options.grace ?? 2_000,
  }
  const worker = new Worker(workerFile(), {
    workerData: work,
    name: 'dploy probe',
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 128 },
  })
  worker.unref()
  const live = new LiveTraffic(options.first ?? false)
  const samples: Sample[] = []
  let failure: Error | null = null
  let stopped: Promise<readonly Sample[]> | undefined
  const over = Promise.withResolvers<void>()
  worker.on('message', (message: ProberMessage) => {
    for (const sample of message.samples) samples.push(sample)
    if (message.samples.length > 0) {
      live.add(message.samples)
      options.onCounts?.(live.counts)
    }
    if (message.kind === 'done') over.resolve()
  })
  worker.on('error', (error) => (failure = error instanceof Error ? error : new Error(String(error))))
  worker.on('exit', () => {
    if (stopped === undefined && failure === null) failure = new Error('The probe ended by itself')
    over.resolve()
  })
  const stop = async () => {
    worker.ref()
    worker.postMessage('stop')
    // The worker waits for `grace` by its own clock; beyond that it hangs, and what it saw until then has to do.
    const timer = setTimeout(over.resolve, work.grace + 5_000)
    await over.promise
    clearTimeout(timer)
    // It has said all: nobody has to wait until it is gone.
    void worker.terminate()
    return samples
  }
  return {
    samples: () => samples,
    failure: () => failure,
    stop: () => (stopped ??= stop()),
    async [Symbol.asyncDispose]() {
      await (stopped ??= stop())
    },
  }
}

/** The worker stands beside this file, as source and as a bundle (src/bundle-cli.ts has it as an entry of its own). */
function workerFile(): string {
  return join(dirname(import.meta.filename), `prober-worker${extname(import.meta.filename)}`)
}

function checkUrl(text: string): void {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return
  throw new DployError(
    'request.invalid',
    `The probe's address ${JSON.stringify(text)} is not an http: or https: address`,
    { fix: 'Correct probe in dploy.yml' },
  )
}
