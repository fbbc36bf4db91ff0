import { request } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { DployError } from '../protocol/errors.ts'
import { formatDuration } from '../protocol/duration.ts'
import type { HealthSpec } from '../protocol/release-spec.ts'

/** Between two tries to connect while nothing listens yet: refused at once, so cheap. Milliseconds. */
const connectEvery = 10
/** Between two checks of a service that was healthy. Milliseconds. */
const watchEvery = 250
/** So many checks in a row have to fail until a service that was healthy counts as unhealthy. */
const watchFailures = 3
/** A service without a port is healthy when it has run this long. Milliseconds. */
const portlessProof = 1_000

export interface HealthTarget {
  health: HealthSpec
  /** One per instance; empty: the service has no port. */
  ports: readonly number[]
  signal: AbortSignal
  /** Rejects when an instance ends by itself. */
  exited: Promise<never>
}

/** Asks once, over HTTP/1.1 on a new connection to 127.0.0.1. `detail` is for people. */
export function checkOnce(health: HealthSpec, port: number, signal: AbortSignal): Promise<{ ok: boolean; detail: string }> {
  return new Promise((resolve) => {
    const asked = request({
      host: '127.0.0.1',
      port,
      path: health.path,
      agent: false,
      headers: { host: health.host ?? `localhost:${port}`, connection: 'close', 'user-agent': 'dploy health check' },
      timeout: health.answer_within,
      signal,
    })
    asked.once('timeout', () => asked.destroy(new Error(`no answer within ${formatDuration(health.answer_within)}`)))
    asked.once('error', (error: NodeJS.ErrnoException) => resolve({ ok: false, detail: error.code === 'ECONNREFUSED' ? `nothing listens on port ${port}` : error.message }))
    asked.once('response', (response) => {
      const status = response.statusCode!
      const ok = health.status ? health.status.includes(status) : status >= 200 && status < 400
      response.resume()
      response.once('end', () => resolve({ ok, detail: `GET ${health.path} on port ${port} answered ${status}` }))
      response.once('error', (error) => resolve({ ok: false, detail: error.message }))
    })
    asked.end()
  })
}

/**
 * Waits until every instance is healthy: `health.successes` good answers in a row each. Without a port: until the
 * service has run for a second. Answers when all instances accepted connections, as a `performance.now()`.
 * Throws `service.unhealthy` after `health.timeout`, with the last answer; rejects with `exited` at once.
 */
export async function waitHealthy(target: HealthTarget): Promise<{ accepting: number }> {
  const deadline = performance.now() + target.health.timeout
  const stop = new AbortController()
  const signal = AbortSignal.any([target.signal, stop.signal])
  try {
    if (target.ports.length === 0) {
      await Promise.race([delay(portlessProof, undefined, { signal }), target.exited])
      return { accepting: performance.now() }
    }
    const accepting = await Promise.race([Promise.all(target.ports.map((port) => waitPort(target.health, port, deadline, signal))), target.exited])
    return { accepting: Math.max(...accepting) }
  } finally {
    stop.abort()
  }
}

/**
 * Keeps checking a service that was healthy for `duration` milliseconds. Throws `service.unhealthy` when three checks
 * in a row fail on one instance; rejects with `exited` at once. Answers how many checks there were.
 */
export async function watchHealth(target: HealthTarget, duration: number): Promise<{ checks: number }> {
  const deadline = performance.now() + duration
  const failures = target.ports.map(() => 0)
  let checks = 0
  const watching = async () => {
    while (performance.now() < deadline) {
      await delay(Math.min(watchEvery, deadline - performance.now()), undefined, { signal: target.signal })
      const answers = await Promise.all(target.ports.map((port) => checkOnce(target.health, port, target.signal)))
      target.signal.throwIfAborted()
      checks++
      for (const [index, answer] of answers.entries()) {
        failures[index] = answer.ok ? 0 : failures[index]! + 1
        if (failures[index]! >= watchFailures) throw new DployError('service.unhealthy', `The service was healthy and is no more: ${answer.detail}`)
      }
    }
  }
  await Promise.race([watching(), target.exited])
  return { checks }
}

async function waitPort(health: HealthSpec, port: number, deadline: number, signal: AbortSignal): Promise<number> {
  let last = `nothing listens on port ${port}`
  let accepting = 0
  let good = 0
  while (performance.now() < deadline) {
    signal.throwIfAborted()
    if (accepting === 0) {
      if (!(await listens(port))) {
        await delay(connectEvery, undefined, { signal })
        continue
      }
      accepting = performance.now()
    }
    const answer = await checkOnce(health, port, signal)
    signal.throwIfAborted()
    good = answer.ok ? good + 1 : 0
    if (good >= health.successes) return accepting
    last = answer.detail
    if (!answer.ok || good < health.successes) await delay(health.interval, undefined, { signal })
  }
  throw new DployError('service.unhealthy', `The service was not healthy within ${formatDuration(health.timeout)}: ${last}`)
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 1_000 })
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => end(true))
    socket.once('error', () => end(false))
    socket.once('timeout', () => end(false))
  })
}
