import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net'
import { test, type TestContext } from 'node:test'
import { runCommand } from '../protocol/command-line.ts'
import { healthSpecSchema, type HealthSpec } from '../protocol/release-spec.ts'
import { checkOnce, waitHealthy, watchHealth, type HealthTarget } from './health.ts'

const never = new Promise<never>(() => {})

function target(health: Partial<HealthSpec>, ports: number[] = [], exited: Promise<never> = never): HealthTarget {
  return {
    health: healthSpecSchema.parse({
      path: '/',
      timeout: 5_000,
      answer_within: 300,
      interval: 10,
      successes: 1,
      ...health,
    }),
    ports,
    exited,
    signal: new AbortController().signal,
    async run(command, port, timeout, signal) {
      let printed = ''
      const { code } = await runCommand({
        command,
        cwd: '/',
        env: { PATH: process.env['PATH']!, PORT: String(port) },
        timeout,
        signal,
        onOutput: (_stream, text) => (printed += text),
      })
      return { code, printed: printed.trimEnd() }
    },
  }
}

async function listening(context: TestContext, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => server.close())
  return (server.address() as AddressInfo).port
}

const serve = (context: TestContext, listener: RequestListener) => listening(context, createServer(listener))

test('an answer is judged by status, header and body, and what is wrong with it is said', async (context) => {
  const port = await serve(context, (request, response) => {
    const url = new URL(request.url!, 'http://x')
    response
      .writeHead(Number(url.searchParams.get('status') ?? 200), { 'x-state': 'warming' })
      .end(`state: ${url.searchParams.get('body') ?? 'ready'}`)
  })
  const cases: [Partial<HealthSpec>, boolean, RegExp][] = [
    [{ path: '/?status=399' }, true, /answered 399$/],
    [{ path: '/?status=400' }, false, /answered 400: state: ready$/],
    [{ path: '/?status=503', status: [503] }, true, /answered 503$/],
    [{ status: [204] }, false, /answered 200: state: ready$/],
    [{ body: 'state: ready' }, true, /answered 200$/],
    [{ path: '/?body=starting', body: 'ready' }, false, /answered 200, and its body does not hold "ready"$/],
    [{ header: { 'X-State': 'warming' } }, true, /answered 200$/],
    [{ header: { 'x-state': 'ready' } }, false, /answered 200 with x-state: warming, not ready$/],
    [{ header: { 'x-other': 'ready' } }, false, /answered 200 with no header x-other$/],
  ]
  for (const [health, ok, detail] of cases) {
    const answer = await checkOnce(target(health), port)
    assert.equal(answer.ok, ok, JSON.stringify(health))
    assert.match(answer.detail, detail)
  }
})

test('an answer that never comes, or never ends, is none', async (context) => {
  const silent = await serve(context, () => {})
  assert.match((await checkOnce(target({}), silent)).detail, /no answer within 300 ms/)
  const endless = await serve(context, (_request, response) => void response.writeHead(200).write('begin'))
  assert.match((await checkOnce(target({}), endless)).detail, /no answer within 300 ms/)
  const dripping = await serve(context, (_request, response) => {
    const drip = setInterval(() => response.write('x'), 50)
    response.once('close', () => clearInterval(drip))
  })
  assert.match((await checkOnce(target({}), dripping)).detail, /no answer within 300 ms/)
  assert.equal((await checkOnce(target({}), 1)).detail, 'nothing listens on port 1')
})

test('of a body only the beginning is read', async (context) => {
  const port = await serve(context, (_request, response) => response.end(`${'x'.repeat(100_000)}ready`))
  assert.equal((await checkOnce(target({ body: 'ready' }), port)).ok, false)
})

test('tcp asks for a connection alone', async (context) => {
  const port = await listening(
    context,
    createTcpServer((socket) => socket.destroy()),
  )
  assert.deepEqual(await checkOnce(target({ kind: 'tcp' }), port), {
    ok: true,
    detail: `port ${port} takes connections`,
  })
  assert.equal((await checkOnce(target({ kind: 'http' }), port)).ok, false)
})

test('a command has to succeed as well, and gets the port', async (context) => {
  const port = await serve(context, (_request, response) => response.end())
  assert.equal((await checkOnce(target({ command: `test "$PORT" = ${port}` }), port)).ok, true)
  assert.deepEqual(await checkOnce(target({ command: 'echo no database >&2; exit 4' }), port), {
    ok: false,
    detail: 'health.command ended with code 4: no database',
  })
  assert.match((await checkOnce(target({ command: 'sleep 60' }), port)).detail, /did not end within 300 ms/)
  assert.match((await checkOnce(target({ command: 'true', status: [204] }), port)).detail, /answered 200$/)
})

test('a service without a port is healthy when its command succeeds', async () => {
  const began = performance.now()
  await waitHealthy(target({ command: 'true' }))
  assert.ok(performance.now() - began < 900, 'it does not wait for the second that stands for a check')
  await assert.rejects(waitHealthy(target({ command: 'echo not yet; exit 1', timeout: 200 })), {
    code: 'service.unhealthy',
    message: /within 200 ms: health\.command ended with code 1: not yet/,
  })
  await assert.rejects(watchHealth(target({ command: 'exit 1' }), 60_000), { code: 'service.unhealthy' })
})

test('as many good answers in a row are asked for as configured', async (context) => {
  const answers = [200, 500, 200, 200, 500, 200, 200, 200]
  let asked = 0
  const port = await serve(context, (_request, response) => response.writeHead(answers[asked++] ?? 200).end())
  await waitHealthy(target({ successes: 3 }, [port]))
  assert.equal(asked, 8)
})

test('a service that ends is told at once, while it starts and while it is watched', async (context) => {
  const port = await serve(context, (_request, response) => response.writeHead(500).end())
  const good = await serve(context, (_request, response) => response.end())
  for (const work of [
    (exited: Promise<never>) => waitHealthy(target({}, [port], exited)),
    (exited: Promise<never>) => watchHealth(target({}, [good], exited), 60_000),
  ]) {
    const exit = Promise.withResolvers<never>()
    const waiting = work(exit.promise)
    exit.reject(new Error('ended'))
    await assert.rejects(waiting, /ended/)
  }
})

test('one of several instances that stops being healthy is enough', async (context) => {
  let ill = false
  const first = await serve(context, (_request, response) => response.end())
  const second = await serve(context, (_request, response) => response.writeHead(ill ? 500 : 200).end())
  await waitHealthy(target({}, [first, second]))
  ill = true
  await assert.rejects(watchHealth(target({}, [first, second]), 60_000), {
    code: 'service.unhealthy',
    message: new RegExp(`was healthy and is no more: GET / on port ${second} answered 500`),
  })
})

test('a service that was healthy is asked ten times a second; a moment of failing is forgiven, half a second is not', async (context) => {
  let illFrom = Infinity
  let illUntil = Infinity
  let asked = 0
  const port = await serve(context, (_request, response) => {
    asked++
    const now = performance.now()
    response.writeHead(now >= illFrom && now < illUntil ? 500 : 200).end()
  })
  const { checks } = await watchHealth(target({}, [port]), 1_000)
  assert.ok(checks >= 7 && checks <= 11, `${checks} checks in a second`)
  assert.equal(asked, checks)
  illFrom = performance.now() + 200
  illUntil = illFrom + 250
  await watchHealth(target({}, [port]), 800)
  illFrom = performance.now() + 100
  illUntil = Infinity
  await assert.rejects(watchHealth(target({}, [port]), 60_000), { code: 'service.unhealthy' })
  const took = performance.now() - illFrom
  assert.ok(took >= 400 && took < 2_000, `it was told after ${took.toFixed(0)} ms`)
})
