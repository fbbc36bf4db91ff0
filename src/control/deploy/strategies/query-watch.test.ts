import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { configSchema } from '../../../protocol/config/config.ts'
import { QueryWatch } from './query-watch.ts'

const prometheusOf = (prometheus: object) =>
  configSchema.parse({
    application: 'shop',
    environments: { production: { strategy: { kind: 'canary', prometheus } } },
  }).environments['production']!.strategy.prometheus!
const sides = {
  new: [{ name: 'web1', address: null }],
  old: [
    { name: 'web2', address: null },
    { name: 'web3', address: null },
  ],
}
const counted = {
  name: 'errors',
  requests: 'sum(http_requests_total{instance=~"{servers}"})',
  failures: 'sum(http_requests_total{instance=~"{servers}",code=~"5.."})',
}

async function until(done: () => boolean, timeout = 15_000): Promise<void> {
  const end = Date.now() + timeout
  while (!done()) {
    if (Date.now() > end) throw new Error('it did not come to that')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function listening(server: Server): Promise<Server & AsyncDisposable & { port: number }> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return Object.assign(server, {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  })
}

/** A port on which nobody listens. */
async function closedPort(): Promise<number> {
  await using free = await listening(createServer())
  return free.port
}

/** Speaks what the API's description says, and refuses what it does not. `answer` gives a number for a query. */
function api(answer: (query: string) => number | null): Promise<Server & AsyncDisposable & { port: number }> {
  return listening(
    createServer((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => (body += chunk.toString()))
      request.on('end', () => {
        const right =
          request.method === 'POST' &&
          request.url === '/prefix/api/v1/query' &&
          request.headers['content-type']?.startsWith('application/x-www-form-urlencoded')
        const query = new URLSearchParams(body).get('query')
        if (!right || query === null)
          return void response
            .writeHead(400, { 'content-type': 'application/json' })
            .end('{"status":"error","errorType":"bad_data","error":"no such call"}')
        const value = answer(query)
        response.writeHead(200, { 'content-type': 'application/json' }).end(
          JSON.stringify({
            status: 'success',
            data: {
              resultType: 'vector',
              result: value === null ? [] : [{ metric: {}, value: [Date.now() / 1000, String(value)] }],
            },
          }),
        )
      })
    }),
  )
}

test('servers with the new release and with the old one are asked about by themselves, at the same time, and judged', async () => {
  const asked = { requests: { web1: 0, others: 0 }, failures: 0 }
  await using server = await api((query) => {
    const fresh = query.includes('"(?:web1)"')
    if (query.includes('p95')) return fresh ? 0.3 : 0.2
    assert.ok(fresh || query.includes('"(?:web2|web3)"'), query)
    if (query.includes('5..')) return fresh ? asked.failures : 0
    return fresh ? (asked.requests.web1 += 1_000) : (asked.requests.others += 2_000)
  })
  const url = `http://127.0.0.1:${server.port}/prefix/`
  await using good = new QueryWatch(
    prometheusOf({
      url,
      every: '250ms',
      queries: [counted, { name: 'p95', value: 'p95{instance=~"{servers}"}', at_most: 0.5 }],
    }),
    sides,
  )
  await until(() => good.judge().outcome === 'pass')
  assert.equal(good.failure, null)
  assert.ok(good.judge().counts)
  assert.match(
    good.judge().reason,
    /errors: \d+ requests to the new release \(0 failed\).*; p95: 0\.3, of the old release 0\.2/,
  )
  await using slower = new QueryWatch(
    prometheusOf({
      url,
      every: '250ms',
      times: 2,
      queries: [{ name: 'p95', value: 'p95{instance=~"{servers}"}', worse_by: '20%' }],
    }),
    sides,
  )
  await until(() => slower.failure !== null)
  assert.equal(slower.failure, "p95: 0.3 is worse than the old release's 0.2 by more than 20 %, 2 times in a row")
  assert.equal(slower.judge().counts, false)
  asked.failures = 400
  await until(() => good.failure !== null)
})

test('a Prometheus that does not answer, or not to this, is no verdict', async () => {
  await using server = await api(() => null)
  const closed = await closedPort()
  for (const [url, says] of [
    [`http://127.0.0.1:${server.port}`, /errors: Prometheus does not answer: no such call/],
    [`http://127.0.0.1:${closed}`, /ECONNREFUSED/],
  ] as const) {
    await using watch = new QueryWatch(prometheusOf({ url, every: '250ms', queries: [counted] }), sides)
    await until(() => says.test(watch.judge().reason))
    assert.deepEqual([watch.judge().outcome, watch.failure], ['inconclusive', null])
  }
  await using silent = new QueryWatch(
    prometheusOf({ url: `http://127.0.0.1:${server.port}/prefix`, every: '250ms', queries: [counted] }),
    sides,
  )
  await until(() => /too few/.test(silent.judge().reason))
})

const binary = ['/usr/bin/prometheus', '/usr/local/bin/prometheus'].find(existsSync)

test(
  'with the real Prometheus, of servers that it asks: one that fails more is found',
  { skip: binary === undefined ? 'Prometheus is not installed' : false, timeout: 60_000 },
  async () => {
    const directory = await mkdtemp(join(tmpdir(), 'dploy-prometheus-'))
    const counts = new Map([
      ['web1', { good: 0, bad: 0 }],
      ['web2', { good: 0, bad: 0 }],
      ['web3', { good: 0, bad: 0 }],
    ])
    await using metrics = await listening(
      createServer((request, response) => {
        const { good, bad } = counts.get(request.url!.slice(1))!
        response
          .writeHead(200, { 'content-type': 'text/plain; version=0.0.4' })
          .end(
            `# TYPE http_requests_total counter\nhttp_requests_total{code="200"} ${good}\n${bad === 0 ? '' : `http_requests_total{code="500"} ${bad}\n`}`,
          )
      }),
    )
    const port = await closedPort()
    await writeFile(
      join(directory, 'prometheus.yml'),
      JSON.stringify({
        global: { scrape_interval: '250ms', scrape_timeout: '200ms' },
        scrape_configs: [...counts.keys()].map((name) => ({
          job_name: name,
          metrics_path: `/${name}`,
          static_configs: [{ targets: [`127.0.0.1:${metrics.port}`], labels: { instance: name } }],
        })),
      }),
    )
    const child = spawn(
      binary!,
      [
        `--config.file=${directory}/prometheus.yml`,
        `--storage.tsdb.path=${directory}/data`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--log.level=error',
      ],
      { stdio: 'ignore' },
    )
    const ended = once(child, 'exit')
    try {
      await using watch = new QueryWatch(
        prometheusOf({
          url: `http://127.0.0.1:${port}`,
          every: '300ms',
          queries: [counted, { name: 'up', value: 'min(up{instance=~"{servers}"})', at_least: 1 }],
        }),
        sides,
      )
      const serve = (failing: number) => {
        for (const [name, count] of counts) {
          count.good += 500
          if (name === 'web1') count.bad += failing
        }
      }
      const serving = setInterval(serve, 100, 0)
      await until(() => watch.judge().outcome === 'pass', 30_000)
      clearInterval(serving)
      assert.match(
        watch.judge().reason,
        /errors: \d+ requests to the new release \(0 failed\) and \d+ to the old one \(0 failed\); up: 1, of the old release 1/,
      )
      const failing = setInterval(serve, 100, 50)
      await until(() => watch.failure !== null, 15_000).finally(() => clearInterval(failing))
      assert.match(watch.failure!, /errors: \d+\.\d\d % of the new release's requests failed, 0\.00 % of the old one's/)
    } finally {
      child.kill('SIGKILL')
      await ended
      await rm(directory, { recursive: true, force: true })
    }
  },
)
