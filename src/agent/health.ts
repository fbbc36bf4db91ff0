import { request, type IncomingHttpHeaders } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { DployError } from '../protocol/errors.ts'
import { formatDuration } from '../protocol/duration.ts'
import type { HealthSpec } from '../protocol/release-spec.ts'

/** Between two tries to connect while nothing listens yet: refused at once, so cheap. Of a start that takes long, a share of the time so far. Milliseconds. */
const connectEvery = 10
const connectShare = 0.1
/** Between two checks of a service that was healthy, while it is deployed. Milliseconds. */
const watchEvery = 100
/** So many checks in a row, over so many milliseconds, have to fail until a service that was healthy counts as unhealthy. */
const watchFailures = 3
const watchFailing = 500
/** What is waited for is told after so long, then less and less often. Milliseconds. */
const tellAfter = 1_000
const tellSeldom = 5_000
/** So much of an answer that is not healthy is told. Characters. */
const bodyTold = 200
/** How often it is looked whose answers these are, of a service that was healthy. Milliseconds. */
const strangersEvery = 1_000
/** So much of an answer is read to find a text in it. Bytes. */
const bodyLimit = 64 * 1024
/** A service without a port and without a command of its own is healthy when it has run this long. Milliseconds. */
const portlessProof = 1_000

export interface HealthTarget {
  health: HealthSpec
  /** One per instance; empty: the service has no port. */
  ports: readonly number[]
  signal: AbortSignal
  /** Runs the check's own command for an instance; null: for the service as a whole. Answers its code, and the last line it printed. */
  run(
    command: string,
    port: number | null,
    timeout: number,
    signal: AbortSignal,
  ): Promise<{ code: number | null; printed: string }>
  /** Who else than the service answers on a port, in words; null: the service, or nobody can know. Left out: nobody can know. */
  stranger?(port: number): Promise<string | null>
  /** Rejects when an instance ends by itself. */
  exited: Promise<never>
  /** Told what is waited for, while it is: the last answer and how many were asked for. Not for each of them. */
  waiting?(text: string): void
}

type Answer = { ok: boolean; detail: string }

/** An answer of somebody else is none. Asked of good answers only: it takes a look at the machine's processes. */
async function ownAnswer(target: HealthTarget, port: number | null, answer: Answer): Promise<Answer> {
  const stranger = answer.ok && port !== null ? ((await target.stranger?.(port)) ?? null) : null
  return stranger === null ? answer : { ok: false, detail: `port ${port} is held by ${stranger}, not by the service` }
}

/** Checks an instance once: its port (by HTTP over `socket`, if given, which is open), then the check's own command. `detail` is for people. */
export async function checkOnce(
  target: Pick<HealthTarget, 'health' | 'signal' | 'run'>,
  port: number | null,
  socket?: Socket,
): Promise<Answer> {
  const { health, signal } = target
  const answer =
    port === null
      ? null
      : health.kind === 'tcp'
        ? await takesConnection(port)
        : await askHttp(health, port, signal, socket)
  if (health.command === undefined || answer?.ok === false) return answer ?? { ok: true, detail: 'it runs' }
  try {
    const { code, printed } = await target.run(health.command, port, health.answer_within, signal)
    return {
      ok: code === 0,
      detail: `health.command ended with code ${code ?? 'none'}${printed === '' ? '' : `: ${printed}`}`,
    }
  } catch (error) {
    return { ok: false, detail: (error as Error).message }
  }
}

/** Over HTTP/1.1 on a new connection to 127.0.0.1, or on one that is open. */
function askHttp(health: HealthSpec, port: number, signal: AbortSignal, socket?: Socket): Promise<Answer> {
  return new Promise((resolve) => {
    const asked = request({
      host: '127.0.0.1',
      port,
      path: health.path,
      ...(socket ? { createConnection: () => socket } : { agent: false }),
      headers: { host: health.host ?? `localhost:${port}`, connection: 'close', 'user-agent': 'dploy health check' },
      signal,
    })
    // Of the whole answer: one that comes drop by drop is none either.
    const timer = setTimeout(
      () => asked.destroy(new Error(`no answer within ${formatDuration(health.answer_within)}`)),
      health.answer_within,
    )
    asked.once('close', () => clearTimeout(timer))
    asked.once('error', (error: NodeJS.ErrnoException) =>
      resolve({ ok: false, detail: error.code === 'ECONNREFUSED' ? `nothing listens on port ${port}` : error.message }),
    )
    asked.once('response', (response) => {
      const status = response.statusCode!
      const asked = `GET ${health.path} on port ${port}`
      const parts: Buffer[] = []
      let size = 0
      response.on('data', (chunk: Buffer) => {
        if (size < bodyLimit) parts.push(chunk)
        size += chunk.length
      })
      response.once('end', () => {
        const wrong = wrongIn(
          health,
          status,
          response.headers,
          Buffer.concat(parts).subarray(0, bodyLimit).toString('utf8'),
        )
        resolve({ ok: wrong === null, detail: `${asked} answered ${status}${wrong ?? ''}` })
      })
      response.once('error', (error) => resolve({ ok: false, detail: `${asked}: ${error.message}` }))
    })
    asked.end()
  })
}

/** What keeps an answer from being a healthy one; null: nothing. Of one whose status says so, its beginning. */
function wrongIn(health: HealthSpec, status: number, headers: IncomingHttpHeaders, body: string): string | null {
  if (!(health.status ? health.status.includes(status) : status >= 200 && status < 400)) return beginningOf(body)
  for (const [name, value] of Object.entries(health.header)) {
    const seen = headers[name.toLowerCase()]
    if (String(seen) !== value)
      return ` with ${seen === undefined ? `no header ${name}` : `${name}: ${String(seen)}, not ${value}`}`
  }
  if (health.body !== undefined && !body.includes(health.body))
    return `, and its body does not hold ${JSON.stringify(health.body)}`
  return null
}

/** `: database pool exhausted`: what an answer says first, in one line. */
function beginningOf(body: string): string {
  const line = body
    .slice(0, bodyTold * 4)
    .replaceAll(/[\s\p{Cc}]+/gu, ' ')
    .trim()
  return line === '' ? '' : `: ${line.length > bodyTold ? `${line.slice(0, bodyTold)}…` : line}`
}

async function takesConnection(port: number): Promise<Answer> {
  return (await listens(port))
    ? { ok: true, detail: `port ${port} takes connections` }
    : { ok: false, detail: `nothing listens on port ${port}` }
}

/**
 * Waits until every instance is healthy: `health.successes` good answers in a row each. Without a port: until the
 * check's command succeeds, or where there is none until the service has run for a second. Answers when all instances accepted connections, as a `performance.now()`.
 * Throws `service.unhealthy` after `health.timeout`, with the last answer; rejects with `exited` at once.
 */
export async function waitHealthy(target: HealthTarget): Promise<{ accepting: number }> {
  const deadline = performance.now() + target.health.timeout
  const stop = new AbortController()
  const signal = AbortSignal.any([target.signal, stop.signal])
  try {
    if (target.ports.length === 0 && target.health.command === undefined) {
      await Promise.race([delay(portlessProof, undefined, { signal }), target.exited])
      return { accepting: performance.now() }
    }
    const accepting = await Promise.race([
      Promise.all(instancesOf(target).map((port) => waitInstance({ ...target, signal }, port, deadline))),
      target.exited,
    ])
    return { accepting: Math.max(...accepting) }
  } finally {
    stop.abort()
  }
}

/**
 * Keeps checking a service that was healthy for `duration` milliseconds, ten times a second. Throws `service.unhealthy`
 * when one instance fails its checks for half a second, and at least three of them; rejects with `exited` at once. Answers how many checks there were.
 */
export async function watchHealth(target: HealthTarget, duration: number): Promise<{ checks: number }> {
  const deadline = performance.now() + duration
  const instances = target.ports.length === 0 && target.health.command === undefined ? [] : instancesOf(target)
  const failures = instances.map(() => ({ count: 0, since: 0 }))
  let checks = 0
  let looked = -Infinity
  const watching = async () => {
    while (performance.now() < deadline) {
      await delay(Math.min(watchEvery, deadline - performance.now()), undefined, { signal: target.signal })
      const asked = performance.now()
      const looks = asked - looked >= strangersEvery || asked >= deadline - watchEvery
      if (looks) looked = asked
      const answers = await Promise.all(
        instances.map(async (port) => {
          const answer = await checkOnce(target, port)
          return looks ? ownAnswer(target, port, answer) : answer
        }),
      )
      target.signal.throwIfAborted()
      checks++
      for (const [index, answer] of answers.entries()) {
        const failing = failures[index]!
        if (answer.ok) failing.count = 0
        else if (failing.count++ === 0) failing.since = asked
        if (failing.count >= watchFailures && performance.now() - failing.since >= watchFailing)
          throw new DployError('service.unhealthy', `The service was healthy and is no more: ${answer.detail}`)
      }
    }
  }
  await Promise.race([watching(), target.exited])
  return { checks }
}

/** Ports of the instances; one null where the service has none. */
function instancesOf(target: HealthTarget): readonly (number | null)[] {
  return target.ports.length === 0 ? [null] : target.ports
}

async function waitInstance(target: HealthTarget, port: number | null, deadline: number): Promise<number> {
  const { health, signal } = target
  const began = performance.now()
  let last = `nothing listens on port ${port}`
  let accepting = port === null ? performance.now() : 0
  let good = 0
  let tries = 0
  let tellAt = began + tellAfter
  let told = ''
  const tell = () => {
    const now = performance.now()
    if (now < tellAt) return
    const text = `health check, try ${tries}: ${last}`
    tellAt = now + (last === told ? Math.min(tellSeldom, now - began) : tellAfter)
    told = last
    target.waiting?.(text)
  }
  while (performance.now() < deadline) {
    signal.throwIfAborted()
    tell()
    if (accepting === 0) {
      tries++
      if (!(await listens(port!))) {
        await delay(
          Math.min(health.interval, Math.max(connectEvery, (performance.now() - began) * connectShare)),
          undefined,
          { signal },
        )
        continue
      }
      accepting = performance.now()
      tries = 0
    }
    tries++
    let answer = await checkOnce(target, port)
    if (good + 1 >= health.successes) answer = await ownAnswer(target, port, answer)
    signal.throwIfAborted()
    good = answer.ok ? good + 1 : 0
    if (good >= health.successes) return accepting
    last = answer.detail
    if (!answer.ok || good < health.successes) await delay(health.interval, undefined, { signal })
  }
  throw new DployError(
    'service.unhealthy',
    `The service was not healthy within ${formatDuration(health.timeout)}: ${last}`,
  )
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
