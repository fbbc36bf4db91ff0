import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { Behaviour, Report } from './fixtures/troubled-server.ts'
import type { LiveCounts } from './live-traffic.ts'
import { startProber, type Prober } from './prober.ts'
import { nextFour } from './prober-worker.ts'
import { quantile, usualOf, verdictOf, type Sample } from './sample.ts'

suite('the prober', { timeout: 60_000 }, () => {
  test('of servers that are taken by turns, each gets every kind of request', () => {
    const kinds = Array.from({ length: 100 }, () => nextFour(true)).flat()
    for (let server = 0; server < 4; server++) {
      const own = kinds
        .filter((_, index) => index % 4 === server)
        .map(({ connection, method }) => `${connection} ${method}`)
      assert.deepEqual([...new Set(own)].toSorted(), ['fresh GET', 'fresh POST', 'kept GET', 'kept POST'])
    }
    for (let begin = 0; begin < kinds.length; begin += 4)
      assert.equal(
        new Set(kinds.slice(begin, begin + 4).map(({ connection, method }) => `${connection} ${method}`)).size,
        4,
        'each once in four',
      )
    assert.deepEqual(
      nextFour(false)
        .map(({ connection, method }) => `${connection} ${method}`)
        .toSorted(),
      ['fresh GET', 'fresh GET', 'kept GET', 'kept GET'],
    )
  })

  test('asks every 50 ms, over kept and fresh connections alike', async () => {
    await using server = await startServer()
    await using prober = startProber({ url: server.url })
    await seen(prober, 40)
    const samples = await prober.stop()
    assert.deepEqual(new Set(samples.map((sample) => sample.status)), new Set([200]))
    const times = samples.map((sample) => sample.at).sort((a, b) => a - b)
    const gaps = times.slice(1).map((at, index) => at - times[index]!)
    assert.ok(quantile(gaps, 0.5) < 60 && quantile(gaps, 0.5) > 40, `the median gap was ${quantile(gaps, 0.5)} ms`)
    const { requests, connections } = await server.count()
    assert.ok(requests >= samples.length)
    assert.ok(
      connections > requests * 0.4 && connections < requests * 0.7,
      `${connections} connections for ${requests} requests`,
    )
    assert.deepEqual(await prober.stop(), samples)
    assert.equal(prober.failure(), null)
  })

  test('sees what the server fails', async () => {
    await using server = await startServer({ kind: 'fail', every: 5, status: 503 })
    await using prober = startProber({ url: server.url, interval: 10 })
    await seen(prober, 50)
    const samples = await prober.stop()
    const failed = samples.filter((sample) => sample.status === 503).length
    assert.ok(Math.abs(failed - samples.length / 5) <= 2, `${failed} of ${samples.length} failed`)
  })

  test('does not wait for a stalled answer before it asks again', async () => {
    await using server = await startServer({ kind: 'stall', every: 10, ms: 1_200 })
    await using prober = startProber({ url: server.url })
    await until(prober, (samples) => samples.filter((sample) => sample.ms > 1_000).length >= 2)
    const samples = await prober.stop()
    const usual = usualOf(samples)
    const stalled = samples.filter((sample) => verdictOf(sample, usual) === 'stalled')
    assert.ok(usual.ms! < 200)
    const last = samples.reduce((at, sample) => Math.max(at, sample.at), 0)
    const whole = stalled.filter((sample) => sample.ms > 1_000 && sample.at + 1_000 < last)
    assert.ok(whole.length > 0)
    for (const sample of whole) {
      assert.ok(sample.ms >= 1_190, `${sample.ms}`)
      const meanwhile = samples.filter((other) => other.at > sample.at && other.at < sample.at + 1_000)
      assert.ok(meanwhile.length >= 10, `only ${meanwhile.length} were asked meanwhile`)
    }
  })

  test('asks by POST where it may, never twice, and says which server answered', async () => {
    const bodies = { GET: 0, POST: 0 }
    const used = new WeakSet<object>()
    await using server = createServer((request, response) => {
      bodies[request.method as 'GET' | 'POST'] += 1
      // A kept connection ends in the instant in which a POST comes over it.
      if (request.method === 'POST' && used.has(request.socket)) return void request.socket.destroy()
      used.add(request.socket)
      response.setHeader('x-served-by', 'shop/web2')
      response.end(`${request.method} ${request.url}`)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    await using prober = startProber({
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
      post: '/probe',
      interval: 5,
    })
    await seen(prober, 60)
    const samples = await prober.stop()
    const posts = samples.filter((sample) => sample.method === 'POST')
    assert.ok(posts.length >= 25 && posts.length <= samples.length / 2 + 2, `${posts.length} of ${samples.length}`)
    assert.equal(bodies.POST, posts.length)
    const failed = samples.filter((sample) => sample.status === null)
    assert.ok(failed.length > 0)
    for (const sample of failed)
      assert.deepEqual([sample.method, sample.connection, sample.error], ['POST', 'kept', 'connection reset'])
    assert.deepEqual(
      new Set(samples.filter((sample) => sample.status !== null).map((sample) => sample.servedBy)),
      new Set(['shop/web2']),
    )
  })

  test('what is usual is told apart by GET and POST', () => {
    const sample = (method: 'GET' | 'POST', ms: number): Sample => ({ at: 0, ms, status: 200, error: null, method })
    const usual = usualOf([
      ...Array.from({ length: 20 }, () => sample('GET', 3)),
      ...Array.from({ length: 20 }, () => sample('POST', 400)),
    ])
    assert.deepEqual([usual.ms, usual.post?.ms], [3, 400])
    assert.deepEqual(
      [
        verdictOf(sample('POST', 410), usual),
        verdictOf(sample('GET', 410), usual),
        verdictOf(sample('POST', 700), usual),
      ],
      ['good', 'stalled', 'stalled'],
    )
  })

  test('counts refused connections while nothing listens, and answers again afterwards', async () => {
    await using server = await startServer()
    await using prober = startProber({ url: server.url, interval: 10 })
    await seen(prober, 10)
    await server.become({ kind: 'refuse' })
    await until(prober, (samples) => samples.filter((sample) => sample.status === null).length >= 10)
    await server.become({ kind: 'well' })
    const back = prober.samples().length
    await until(prober, (samples) => samples.slice(back).filter((sample) => sample.status === 200).length >= 10)
    const errors = new Set((await prober.stop()).flatMap((sample) => sample.error ?? []))
    assert.ok(errors.has('connection refused'), [...errors].join('; '))
    for (const error of errors)
      assert.match(error, /^connection (refused|reset|closed without an answer)$|^answer cut off/)
  })

  test('an answer that is cut off has failed, whatever its status', async () => {
    await using server = await startServer({ kind: 'cut' })
    await using prober = startProber({ url: server.url, interval: 10 })
    await seen(prober, 10)
    for (const sample of await prober.stop()) {
      assert.equal(sample.status, null)
      assert.match(sample.error!, /^answer cut off/)
    }
  })

  test('a kept connection that the server closes is nobody’s failure, as in any browser', async () => {
    await using server = await startServer({ kind: 'close-idle' })
    await using prober = startProber({ url: server.url, interval: 15 })
    await seen(prober, 100)
    assert.deepEqual(
      (await prober.stop()).filter((sample) => sample.status !== 200),
      [],
    )
  })

  test('no answer in time is a failure, and so is one that never comes before the end', async () => {
    await using server = await startServer({ kind: 'silent' })
    await using prober = startProber({ url: server.url, timeout: 300, grace: 100 })
    await seen(prober, 3)
    const samples = await prober.stop()
    const errors = new Set(samples.map((sample) => sample.error!.replace(/\d+ ms/, 'N ms')))
    assert.deepEqual(
      errors,
      new Set(['no answer within 0.3 s', 'no answer within N ms, when the deployment had ended']),
    )
    for (const sample of samples) assert.ok(sample.ms < 5_000)
  })

  test('a name is looked up, and an unknown one is a failure that says so', async () => {
    await using server = await startServer()
    await using prober = startProber({ url: server.url.replace('127.0.0.1', 'localhost'), interval: 10 })
    await using lost = startProber({ url: 'http://nowhere.invalid/', interval: 10 })
    await Promise.all([seen(prober, 10), seen(lost, 3)])
    assert.deepEqual(new Set((await prober.stop()).map((sample) => sample.status)), new Set([200]))
    for (const sample of await lost.stop()) assert.match(sample.error!, /^the host (is unknown|cannot be looked up)$/)
  })

  test('a control plane that is busy for a second disturbs neither pace nor times', async () => {
    await using server = await startServer()
    await using prober = startProber({ url: server.url })
    await seen(prober, 10)
    const began = Date.now()
    while (Date.now() - began < 1_000);
    const ended = Date.now()
    await until(prober, (samples) => samples.some((sample) => sample.at > ended))
    const meanwhile = (await prober.stop()).filter((sample) => sample.at > began && sample.at < ended)
    assert.ok(meanwhile.length >= 10, `only ${meanwhile.length} of 20 were asked`)
    // The busy loop takes one of the machine's cores: single answers may be late, but none may wait for its end.
    const waited = meanwhile.filter((sample) => sample.at < ended - 400 && sample.at + sample.ms >= ended)
    assert.deepEqual(waited, [])
    assert.ok(
      quantile(
        meanwhile.map((sample) => sample.ms),
        0.5,
      ) < 100,
    )
  })

  test('tells the counts while it goes on', async () => {
    await using server = await startServer({ kind: 'fail', every: 4, status: 500 })
    const heard: LiveCounts[] = []
    await using prober = startProber({ url: server.url, interval: 10, onCounts: (counts) => heard.push(counts) })
    await seen(prober, 60)
    const samples = await prober.stop()
    const last = heard.at(-1)!
    assert.equal(last.seen, samples.length)
    assert.equal(last.failed, samples.filter((sample) => sample.status === 500).length)
    assert.ok(heard.length >= 2)
  })

  test('an address that is none is an error with a fix', () => {
    for (const url of ['shop.example', 'ftp://shop.example/', ''])
      assert.throws(() => startProber({ url }), { code: 'request.invalid', fix: /dploy\.yml/ })
  })

  test('works in a bundle, with the worker beside it', async () => {
    await using server = await startServer()
    const directory = await mkdtemp(join(tmpdir(), 'dploy-prober-'))
    try {
      const main = join(directory, 'main.ts')
      await writeFile(main, program(fileURLToPath(new URL('./prober.ts', import.meta.url)), server.url))
      await build({
        entryPoints: { main, 'prober-worker': fileURLToPath(new URL('./prober-worker.ts', import.meta.url)) },
        outdir: join(directory, 'out'),
        bundle: true,
        platform: 'node',
        format: 'esm',
        outExtension: { '.js': '.mjs' },
        logLevel: 'silent',
      })
      const child = fork(join(directory, 'out/main.mjs'), [], { execArgv: [] })
      try {
        const [answer] = (await once(child, 'message')) as [{ statuses: number[] }]
        assert.ok(answer.statuses.length >= 5)
        assert.ok(answer.statuses.every((status) => status === 200))
        if (child.exitCode === null) await once(child, 'exit')
        assert.equal(child.exitCode, 0)
      } finally {
        child.kill('SIGKILL')
      }
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
})

/** Ends by itself when the probe was stopped: the worker keeps nothing alive. */
const program = (module: string, url: string) => `
import { startProber } from ${JSON.stringify(module)}
import { setTimeout } from 'node:timers/promises'
const prober = startProber({ url: ${JSON.stringify(url)}, interval: 10 })
while (prober.samples().length < 5 && prober.failure() === null) await setTimeout(20)
const samples = await prober.stop()
process.send({ statuses: samples.map((sample) => sample.status) }, () => process.disconnect())
`

function seen(prober: Prober, count: number): Promise<void> {
  return until(prober, (samples) => samples.length >= count)
}

/** The prober tells of samples every 250 ms; the suite's own time limit ends a condition that never comes true. */
async function until(prober: Prober, condition: (samples: readonly Sample[]) => boolean): Promise<void> {
  while (!condition(prober.samples())) {
    assert.equal(prober.failure(), null)
    await delay(20)
  }
}

async function startServer(behaviour: Behaviour = { kind: 'well' }) {
  const child = fork(fileURLToPath(new URL('./fixtures/troubled-server.ts', import.meta.url)), [], { execArgv: [] })
  const ask = async <K extends Report['kind']>(
    message: Behaviour | { kind: 'count' },
    kind: K,
  ): Promise<Extract<Report, { kind: K }>> => {
    child.send(message)
    const [report] = (await once(child, 'message')) as [Report]
    assert.equal(report.kind, kind)
    return report as Extract<Report, { kind: K }>
  }
  const [listening] = (await once(child, 'message')) as [Extract<Report, { kind: 'listening' }>]
  await ask(behaviour, 'done')
  return {
    url: `http://127.0.0.1:${listening.port}/`,
    become: (next: Behaviour) => ask(next, 'done'),
    count: () => ask({ kind: 'count' }, 'counts'),
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
    },
  }
}
