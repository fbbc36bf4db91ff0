// Needs the machine to itself.
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { SampleRepository, type Behaviour } from '../applications/sample.ts'
import { endedOn, noRequestFailed, noRequestNoticed, startTraffic } from './traffic.ts'

const bounded = { timeout: 60_000 }

test('a well-behaved application leaves nothing to notice', bounded, async () => {
  await using sample = await startSample({ version: '7' })
  await using traffic = await startTraffic({ url: sample.url, rate: 200, posts: 0.25 })
  await traffic.until((summary) => summary.seen >= 200)
  const summary = await traffic.stop()
  noRequestNoticed(summary, 200)
  endedOn(summary, '7')
  assert.deepEqual(Object.keys(summary.byRelease), ['7'])
  assert.equal(summary.byRelease['7'], summary.seen)
  assert.ok(summary.p50 <= summary.p99 && summary.p99 <= summary.slowest)
  const rate = summary.seen / summary.seconds
  assert.ok(rate > 180 && rate < 220, `sent ${rate} a second`)
})

test('requests keep to their shares and their rate, whatever this process does', bounded, async () => {
  await using sample = await startSample({ version: '1' })
  await using traffic = await startTraffic({ url: sample.url, rate: 100, posts: 0.5, keepAlive: 0.5 })
  // This process does nothing else for a second.
  for (const end = performance.now() + 1000; performance.now() < end;);
  await traffic.until((summary) => summary.seen >= 100)
  const records = await traffic.records()
  const summary = await traffic.stop()
  noRequestFailed(summary, 100)
  assert.ok(Math.abs(records.filter((record) => record.method === 'POST').length / records.length - 0.5) < 0.05)
  assert.ok(records.some((record) => record.reused) && records.some((record) => !record.reused))
  const pauses = records
    .map((record) => record.at)
    .sort((a, b) => a - b)
    .map((at, index, all) => at - (all[index - 1] ?? at))
  assert.ok(Math.max(...pauses) < 200 + summary.blind, `a pause of ${Math.max(...pauses)} ms`)
})

test('failures and stalls are seen, each with its cause', bounded, async () => {
  let count = 0
  await using server = await serve(
    createServer((request, response) => {
      count += 1
      if (count % 20 === 3) request.socket.destroy()
      else if (count % 20 === 7) {
        response.statusCode = 503
        response.end()
      } else if (count % 20 === 11) {
        response.setHeader('content-length', 100)
        response.write('half')
        setTimeout(() => response.destroy(), 10)
      } else if (count % 20 === 13) setTimeout(() => response.end('late'), 400)
      else if (count % 20 === 17) {
        /* never answers */
      } else response.end('fine')
    }),
  )
  await using traffic = await startTraffic({ url: server.url, posts: 0, timeout: 1000 })
  await traffic.until((summary) => summary.seen >= 100)
  const summary = await traffic.stop()
  const causes = summary.failures.map((failure) => failure.cause).join('\n')
  for (const cause of [/ECONNRESET/, /status 503/, /broke off/, /no answer within 1000 ms/]) assert.match(causes, cause)
  assert.ok(summary.failed >= 16, `${summary.failed} failed`)
  assert.ok(summary.stalled >= 4, `${summary.stalled} stalled`)
  assert.ok(
    summary.failures.length <= 20 && summary.stalls.every((stall) => stall.ms >= 250 && stall.cause === undefined),
  )
  assert.throws(() => noRequestFailed(summary), /requests failed\n  .*GET on a/)
  assert.throws(() => noRequestNoticed({ ...summary, failed: 0 }), /requests stalled \(usual/)
  assert.throws(() => noRequestFailed(summary, 100_000), /proves less/)
})

test('an answer that is not the echo of what was posted has failed', bounded, async () => {
  await using server = await serve(
    createServer((request, response) => request.resume().once('end', () => response.end('something else'))),
  )
  await using traffic = await startTraffic({ url: server.url, posts: 1 })
  await traffic.until((summary) => summary.seen >= 5)
  assert.match((await traffic.stop()).failures[0]?.cause ?? '', /not what was posted/)
})

test('a refused connection is a failure at once', bounded, async () => {
  let url: string
  {
    await using server = await serve(createServer())
    url = server.url
  }
  await using traffic = await startTraffic({ url })
  await traffic.until((summary) => summary.seen >= 10)
  const summary = await traffic.stop()
  assert.equal(summary.failed, summary.seen)
  assert.match(summary.failures[0]?.cause ?? '', /ECONNREFUSED/)
})

test('traffic is bounded, and goes nowhere else', bounded, async () => {
  await assert.rejects(startTraffic({ url: 'http://192.0.2.1/' }), /loopback or to a fleet only/)
  await assert.rejects(startTraffic({ url: 'http://127.0.0.1.example.com/' }), /loopback or to a fleet only/)
  await assert.rejects(startTraffic({ url: 'http://127.0.0.1/', rate: 5000 }), /rate must be from 1 to 1000/)
  await using server = await serve(createServer((_, response) => response.end()))
  await using traffic = await startTraffic({ url: server.url, posts: 0, duration: 300 })
  await traffic.until((summary) => summary.seconds >= 0.3 && summary.seen >= 28)
  const first = await traffic.stop()
  assert.ok(first.seen <= 33, `${first.seen} in 300 ms at 100 a second`)
  assert.deepEqual(await traffic.stop(), first)
})

test('the sample application behaves as its revision asks', bounded, async () => {
  {
    await using sick = await startSample({ version: '2', neverHealthy: true })
    assert.equal((await fetch(`${sick.url}healthz`)).status, 503)
    assert.equal((await fetch(sick.url)).headers.get('x-release'), '2')
  }
  await using brief = await startSample({ version: '3', exitAfterMilliseconds: 50 })
  const ended = once(brief.process, 'exit')
  assert.equal((await fetch(`${brief.url}healthz`)).status, 200)
  assert.deepEqual(await ended, [1, null])
})

test('the sample application finishes what it was asked before it ends', bounded, async () => {
  await using sample = await startSample({ version: '1', answerMilliseconds: 300 })
  const ended = once(sample.process, 'exit')
  const answers = Array.from({ length: 10 }, () => fetch(sample.url))
  // Its own word that all ten have arrived.
  await fetch(`${sample.url}healthz`)
  sample.process.kill('SIGTERM')
  for (const answer of await Promise.all(answers))
    assert.equal(((await answer.json()) as { version: string }).version, '1')
  assert.deepEqual(await ended, [0, null])
})

async function serve(server: Server): Promise<AsyncDisposable & { url: string }> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function startSample(behaviour: Behaviour): Promise<AsyncDisposable & { url: string; process: ChildProcess }> {
  const directory = await mkdtemp(join(tmpdir(), 'sample-'))
  const repository = await SampleRepository.create(join(directory, 'repository'), behaviour)
  const child = spawn(process.execPath, [join(repository.path, 'server.js')], {
    env: { ...process.env, PORT: '0', HOST: '127.0.0.1' },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const exit = once(child, 'exit')
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  return {
    url: `http://127.0.0.1:${/port (\d+)$/.exec(line)![1]}/`,
    process: child,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await exit
      await rm(directory, { recursive: true })
    },
  }
}
