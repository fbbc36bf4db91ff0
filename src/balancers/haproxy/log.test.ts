import assert from 'node:assert/strict'
import { appendFile, mkdtemp, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { LoggedRequest } from '../contract.ts'
import { contractWorld, freePort, soon, until, type ContractWorld } from '../contract-suite.ts'
import { openBalancer } from '../registry.ts'
import { haproxyBinary, startHaproxy } from './fixture.ts'
import { parseLogLine } from './log-line.ts'
import { HaproxyLog } from './log.ts'

const arrived = Date.UTC(2026, 1, 6, 11, 14, 14, 770)
const line =
  '10.0.1.2:33317 [06/Feb/2026:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /index.html HTTP/1.1"'

test('a line of httplog, behind whatever syslog writes before it', () => {
  const seen = {
    backend: 'static',
    at: Date.UTC(2026, 1, 6, 11, 14, 14, 655),
    clientPort: 33_317,
    server: 'srv1',
    method: 'GET',
    path: '/index.html',
    status: 200,
    waitMs: 0,
    connectMs: 30,
    answerMs: 69,
    totalMs: 109,
    retries: 0,
    ending: '----',
  }
  assert.deepEqual(parseLogLine(line, arrived), seen)
  for (const before of [
    '<134>Feb  6 12:14:14 haproxy[14389]: ',
    'Feb  6 12:14:14 lb1 haproxy[14389]: ',
    '<134>1 2026-02-06T12:14:14.770+01:00 lb1 haproxy 14389 - - ',
  ])
    assert.deepEqual(parseLogLine(before + line, arrived), seen)
})

test('requests that were tried again, that nobody answered, by HTTP/2, and with what httpslog adds', () => {
  const of = (text: string) => parseLogLine(text, arrived)!
  const cut = of(
    '127.0.0.1:4100 [06/Feb/2026:12:14:14.655] in web/web2 0/0/1/-1/112 -1 0 - - SD-- 3/3/2/1/+2 0/0 "POST /pay?x=1 HTTP/1.1"',
  )
  assert.deepEqual(
    [cut.server, cut.status, cut.answerMs, cut.retries, cut.ending, cut.method, cut.path],
    ['web2', null, null, 2, 'SD--', 'POST', '/pay?x=1'],
  )
  const none = of(
    '127.0.0.1:4100 [06/Feb/2026:12:14:14.655] in web/<NOSRV> 0/-1/-1/-1/5 503 217 - - SC-- 3/3/2/0/0 0/0 "GET / HTTP/1.1"',
  )
  assert.deepEqual([none.server, none.waitMs, none.connectMs], [null, null, null])
  assert.equal(
    of(
      '[::1]:4100 [06/Feb/2026:12:14:14.655] in~ web/web1 0/0/0/2/2 200 9 - - ---- 1/1/0/0/0 0/0 "GET https://shop.example.com/a?b=c HTTP/2.0" 0/0000000000000000/0/0/0 shop.example.com/TLSv1.3/TLS_AES_128_GCM_SHA256',
    ).path,
    '/a?b=c',
  )
  assert.equal(
    of('127.0.0.1:4100 [06/Feb/2026:12:14:14.655] in web/web1 0/0/0/2/+2 200 +9 - - ---- 1/1/0/0/0 0/0 "<BADREQ>"')
      .path,
    null,
  )
})

test('what tells of no request is no request, however long', () => {
  for (const text of [
    '',
    'Proxy web started.',
    '[NOTICE] Server web/web1 is UP',
    'x'.repeat(200_000),
    `${'a:1 ['.repeat(20_000)}`,
    line.replace('"GET', 'GET'),
  ])
    assert.equal(parseLogLine(text, arrived), null)
})

test('a file is read on from its end, through rotation and truncation, and lines that come in pieces', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'dploy-log-'))
  try {
    const path = join(directory, 'haproxy.log')
    const of = (name: string) => `${line.replace('/index.html', `/${name}`)}\n`
    await writeFile(path, of('before'))
    const seen: (string | null)[] = []
    const following = await new HaproxyLog(path, ['static']).follow(({ path: asked }) => seen.push(asked))
    await appendFile(path, of('one').slice(0, 40))
    await new Promise((resolve) => setImmediate(resolve))
    await appendFile(path, of('one').slice(40) + of('two').replace('static/', 'other/'))
    await until(async () => assert.deepEqual(seen, ['/one']))
    await rename(path, `${path}.1`)
    await appendFile(`${path}.1`, of('late'))
    await writeFile(path, of('new'))
    await until(async () => assert.deepEqual(seen, ['/one', '/late', '/new']))
    await truncate(path)
    await until(async () => {
      await appendFile(path, of('after'))
      assert.equal(seen.at(-1), '/after')
    })
    await appendFile(path, of('last'))
    await following[Symbol.asyncDispose]()
    assert.equal(seen.at(-1), '/last', 'what was written before the end is told')
    await assert.rejects(
      new HaproxyLog(join(directory, 'none.log'), ['static']).follow(() => {}),
      /balancer\.log_unreadable|cannot be read.*ENOENT/,
    )
  } finally {
    await rm(directory, { recursive: true })
  }
})

describe('the log of a real HAProxy', { skip: haproxyBinary() === null ? 'HAProxy is not installed' : false }, () => {
  const world = async (log: string): Promise<ContractWorld> =>
    contractWorld({
      closesIdleConnections: false,
      async start(servers, directory) {
        const haproxy = await startHaproxy({
          directory,
          bind: `127.0.0.1:${await freePort()}`,
          backend: 'web',
          servers: [...servers],
          healthPath: '/healthz',
          checkInterval: '100ms',
          configure: (text) =>
            text
              .replace('global\n', `global\n  log ${log.replace('udp:', '')} len 4096 local0\n`)
              .replace('mode http\n', 'mode http\n  log global\n  option httplog\n'),
        })
        return {
          url: haproxy.url,
          config: { kind: 'haproxy', address: [haproxy.address], backend: ['web'], log },
          [Symbol.asyncDispose]: () => haproxy[Symbol.asyncDispose](),
        }
      },
    })

  test('tells of each request who answered it, when and how long that took; several follow it at once', async () => {
    await using here = await world(`udp:127.0.0.1:${await freePort()}`)
    const [seen, other]: LoggedRequest[][] = [[], []]
    await using _ = await here.balancer.follow!((request) => seen!.push(request))
    await using second = openBalancer(here.fixture.config)
    await second.check(['web1'], soon())
    assert.deepEqual(second.advice!({ batches: 1, drain: 0, register: 0 }), [])
    await using __ = await second.follow!((request) => other!.push(request))
    const began = Date.now()
    const names = await here.users.names(30)
    const held = here.users.get('/hold')
    const backend = await Promise.race(here.backends.map(async (one) => (await one.holding(), one)))
    await new Promise((resolve) => setTimeout(resolve, 150))
    backend.release()
    await held
    await here.users.get('/error')
    await until(async () => assert.equal(seen!.length, 32))
    assert.deepEqual(
      seen!.slice(0, 30).map(({ server }) => server),
      names,
    )
    assert.ok(seen!.every(({ at }) => at >= began - 2 && at <= Date.now()))
    const [slow, failed] = seen!.slice(30)
    assert.ok(
      slow!.server === backend.name && slow!.answerMs! >= 145 && slow!.answerMs! < 1_000 && slow!.path === '/hold',
      JSON.stringify(slow),
    )
    assert.deepEqual([failed!.status, failed!.path], [500, '/error'])
    assert.deepEqual(other, seen)
  })

  test("that cannot be read is told by the check, and stands in nobody's way", async () => {
    await using here = await world('udp:127.0.0.1:9')
    await using balancer = openBalancer({
      ...here.fixture.config,
      log: '/nowhere/haproxy.log',
    } as typeof here.fixture.config)
    await balancer.check(['web1'], soon())
    assert.match(balancer.advice!({ batches: 1, drain: 0, register: 0 })[0]!, /\/nowhere\/haproxy\.log.*ENOENT/)
  })
})
