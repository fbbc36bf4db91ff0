import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { isFleetAddress } from '../fleet/network.ts'
import type { TrafficRecord, TrafficSummary } from './summary.ts'

export type { TrafficRecord, TrafficSummary } from './summary.ts'
export { endedOn, noRequestFailed, noRequestNoticed } from './verdict.ts'

export interface TrafficOptions {
  /** Where the requests go. Only this machine's loopback or an address of a fleet. */
  url: string
  /** Requests a second, whether or not earlier ones were answered. Default 100, at most 1,000. */
  rate?: number
  /** The share, 0 to 1, that goes over connections that are used again. The rest each open their own. Default 0.5. */
  keepAlive?: number
  /** The share, 0 to 1, that are POSTs. Default 0.1. */
  posts?: number
  /** The length of what a POST sends. Default 1,000. */
  postBytes?: number
  /** Whether a POST must be answered with what it sent. Default true, as the sample application does. */
  echo?: boolean
  /** The share, 0 to 1, that asks for `slowPath`, which takes `slowMs` by itself: what it takes longer counts. Default none. */
  slow?: number
  slowPath?: string
  slowMs?: number
  /**
   * Whether a request on a kept connection that ends before an answer begins is sent once more on a new one, as browsers
   * do whatever its method (Chromium, HttpNetworkTransaction::ShouldResendRequest). Default false.
   */
  again?: boolean
  /** Milliseconds after which a request without an answer has failed. Default 10,000. */
  timeout?: number
  /** Milliseconds after which the traffic ends by itself. Default 120,000, at most 600,000. */
  duration?: number
  /** The headers of an answer that name the release and the server. Default x-release and x-server. */
  releaseHeader?: string
  serverHeader?: string
}

export type GeneratorOptions = Required<TrafficOptions>
export type GeneratorQuestion = { id: number; kind: 'look' | 'stop'; records: boolean }
type GeneratorAnswer =
  { kind: 'started' } | { kind: 'summary'; id: number; summary: TrafficSummary; records: TrafficRecord[] }

/** Starts requests at a fixed rate, from a process of their own, so that nothing this process does delays them. */
export async function startTraffic(options: TrafficOptions): Promise<Traffic> {
  const complete: GeneratorOptions = {
    rate: 100,
    keepAlive: 0.5,
    posts: 0.1,
    postBytes: 1000,
    echo: true,
    slow: 0,
    slowPath: '/slow',
    slowMs: 2_000,
    again: false,
    timeout: 10_000,
    duration: 120_000,
    releaseHeader: 'x-release',
    serverHeader: 'x-server',
    ...options,
  }
  check(complete)
  const child = spawn(process.execPath, [join(import.meta.dirname, 'generator.ts'), JSON.stringify(complete)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const traffic = new Traffic(child, complete)
  await traffic.started
  return traffic
}

/** Running requests: `await using traffic = await startTraffic({ url })`, then `stop()` for what they saw. */
export class Traffic {
  /** Fulfilled when the first request is about to be sent. */
  readonly started: Promise<void>
  readonly #child: ChildProcess
  readonly #options: GeneratorOptions
  readonly #waiting = new Map<number, PromiseWithResolvers<GeneratorAnswer & { kind: 'summary' }>>()
  readonly #ended: Promise<unknown>
  #questions = 0
  #stopped: Promise<TrafficSummary> | undefined

  constructor(child: ChildProcess, options: GeneratorOptions) {
    this.#child = child
    this.#options = options
    this.#ended = once(child, 'exit')
    const started = Promise.withResolvers<void>()
    this.started = started.promise
    child.on('message', (answer: GeneratorAnswer) => {
      if (answer.kind === 'started') started.resolve()
      else this.#waiting.get(answer.id)?.resolve(answer)
    })
    const fail = (cause: unknown): void => {
      const error = new Error('The traffic generator ended by itself', { cause })
      started.reject(error)
      for (const waiting of this.#waiting.values()) waiting.reject(error)
    }
    child.once('error', fail)
    child.once('exit', fail)
  }

  /** What was seen so far. */
  async look(): Promise<TrafficSummary> {
    return (await this.#ask('look')).summary
  }

  /** Every request so far, in the order of their answers. */
  async records(): Promise<TrafficRecord[]> {
    return (await this.#ask('look', true)).records
  }

  /** Waits until what was seen satisfies a condition; throws after `timeout` ms. */
  async until(condition: (summary: TrafficSummary) => boolean, timeout = 30_000): Promise<TrafficSummary> {
    const patience = AbortSignal.timeout(timeout)
    for (;;) {
      const summary = await this.look()
      if (condition(summary)) return summary
      await delay(50, undefined, { signal: patience })
    }
  }

  /** Ends the traffic, waits for the answers that are under way, and says what was seen. Asked again, it says the same. */
  async stop(): Promise<TrafficSummary> {
    this.#stopped ??= this.#ask('stop').then(async ({ summary }) => {
      await this.#ended
      return summary
    })
    return await this.#stopped
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL')
    await this.#ended
  }

  async #ask(kind: 'look' | 'stop', records = false): Promise<GeneratorAnswer & { kind: 'summary' }> {
    const id = ++this.#questions
    const answer = Promise.withResolvers<GeneratorAnswer & { kind: 'summary' }>()
    this.#waiting.set(id, answer)
    const timer = setTimeout(
      () => answer.reject(new Error('The traffic generator does not answer')),
      this.#options.timeout + 5000,
    )
    try {
      this.#child.send({ id, kind, records } satisfies GeneratorQuestion, (error) => {
        if (error) answer.reject(error)
      })
      return await answer.promise
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(id)
    }
  }
}

function check(options: GeneratorOptions): void {
  const { hostname, protocol } = new URL(options.url)
  const isOurs =
    /^127\.\d+\.\d+\.\d+$/.test(hostname) ||
    hostname === '[::1]' ||
    hostname === 'localhost' ||
    isFleetAddress(hostname)
  if (!isOurs) throw new Error(`Traffic goes to this machine's loopback or to a fleet only, not to ${hostname}`)
  if (protocol !== 'http:') throw new Error(`Traffic is sent over http, not ${protocol}`)
  const within = (
    name: 'rate' | 'keepAlive' | 'posts' | 'duration' | 'postBytes' | 'timeout',
    low: number,
    high: number,
  ): void => {
    if (!(options[name] >= low && options[name] <= high))
      throw new Error(`${name} must be from ${low} to ${high}, not ${options[name]}`)
  }
  within('rate', 1, 1000)
  within('keepAlive', 0, 1)
  within('posts', 0, 1)
  within('postBytes', 0, 1_000_000)
  within('timeout', 1, 60_000)
  within('duration', 1, 600_000)
}
