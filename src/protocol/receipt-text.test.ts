import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import stringWidth from 'string-width'
import { causeLines } from './causes-text.ts'
import { formatBytes } from './bytes.ts'
import { receiptLines } from './receipt-text.ts'
import { receiptSchema, type Receipt, type ReceiptServer, type Traffic } from './receipt.ts'

suite('a receipt in a terminal', () => {
  test('tells what it took and that no user noticed', () => {
    const text = receiptLines(receipt({}), { width: 80, color: false })
    assert.deepEqual(text.slice(0, 3), [
      '✓ Deployment 128 succeeded in 2.1 s · release 41 → 42',
      '  No user noticed: 4,212 requests at the balancer, 4,212 by the probe',
      '',
    ])
    assert.match(text.join('\n'), /^ {2}time {6}1\.4 s floor \+ 400 ms waiting \+ 300 ms overhead$/m)
    assert.match(
      text.join('\n'),
      /^ {2}floor {5}round trip 40 ms · transfer 60 ms · unpack 20 ms · switch 80 ms ·\n {12}boot 1\.0 s · health 200 ms$/m,
    )
    assert.match(
      text.join('\n'),
      /^ {2}path {6}resolve 40 ms → web1 fetch 60 ms, unpack 25 ms →\n {12}web2 requests in flight 180 ms, boot 500 ms$/m,
    )
    assert.match(text.join('\n'), /^ {2}sent {6}76 KB in 6 objects · to 2 servers · 38 KB each at most$/m)
    assert.match(text.join('\n'), /^ {2}skew {6}700 ms from the first switch to the last$/m)
  })

  test('draws each server over the time of the deployment', () => {
    const row = receiptLines(receipt({}), { width: 80, color: false }).find((line) => line.startsWith('  web2'))!
    assert.match(row, /^ {2}web2 {2}✓ switched {2}38 KB {2}2\.0 s {2}│ ░+ +▒+▓+█+▄+ *│$/)
    assert.ok(
      receiptLines(receipt({}), { width: 80, color: false }).some((line) =>
        /░ stage {2}▒ drain {2}▓ switch {2}█ boot {2}▄ register/.test(line),
      ),
    )
  })

  test('names every noticed request with its cause and what ran then', () => {
    const text = receiptLines(receipt({ traffic: troubled }), { width: 100, color: false }).join('\n')
    assert.match(
      text,
      /^ {2}1 of 4,212 requests failed at the balancer; the balancer tried 3 requests again; 1 failed and 1\n {2}stalled of 4,212 requests by the probe$/m,
    )
    assert.match(text, /^ {2}at 1\.20 s {2}failed {3}connection refused {4}web1: boot$/m)
    assert.match(
      text,
      /^ {2}at 1\.30 s {2}stalled {2}answered after 1\.0 s {2}web1, web2, web3, web4, web5 and 3 more: switch$/m,
    )
    assert.match(text, /4,212 requests · 1 answered 5xx · 3 tried again/)
  })

  test('says why, and what to change', () => {
    const suggestion = {
      text: 'Wait longer for requests in flight',
      where: 'dploy.yml' as const,
      lines: ['environments:', '  production:', '    timeouts:', '      drain: 30s'],
    }
    const one = receipt({
      traffic: troubled,
      capacity: { least: 0.5, mean: 0.87 },
      causes: [
        {
          id: 'killed_in_flight',
          servers: ['web1'],
          step: 'switch',
          requests: 1,
          ms: null,
          evidence: ['GET at 1.20 s: connection reset, sent 1.1 s before web1 was told to stop'],
          suggestion,
        },
        { id: 'slow_boot', servers: ['web1', 'web2'], step: 'boot', requests: 0, ms: 6_000, evidence: [], suggestion },
      ],
    })
    const text = receiptLines(one, { width: 100, color: false }).join('\n')
    assert.match(text, /^ {2}capacity {2}50 % of the servers in traffic at least · 87 % on average$/m)
    assert.match(text, /^ {2}why {7}killed in flight \(web1\) · slow boot \(2 servers\) · dploy explain 128$/m)
    const why = causeLines(one, { width: 100, color: false })
    assert.equal(why[0], 'killed in flight · 1 request · web1 · in switch')
    assert.deepEqual(why.slice(-6), [
      'What to do: Wait longer for requests in flight. In dploy.yml:',
      '',
      '    environments:',
      '      production:',
      '        timeouts:',
      '          drain: 30s',
    ])
    for (let width = 40; width < 120; width += 7)
      for (const line of causeLines(one, { width, color: true })) assert.ok(stringWidth(line) <= width, line)
    assert.deepEqual(causeLines(receipt({}), { width: 80, color: false }), [])
  })

  test('folds many servers by batch and names those that failed', () => {
    const many = Array.from({ length: 32 }, (_, index) => ({
      ...web('web' + (index + 1), Math.floor(index / 8), index * 10),
      outcome: index === 9 ? ('failed' as const) : ('switched' as const),
    }))
    const text = receiptLines(receipt({ servers: many }), { width: 100, color: false }).join('\n')
    assert.match(text, /^ {2}batch 1 {2}✓ 8 switched/m)
    assert.match(text, /^ {2}batch 2 {2}✓ 7 switched, ✗ 1 failed/m)
    assert.match(text, /^ {4}web10 {2}✗ failed/m)
    assert.doesNotMatch(text, /^ {2}web1 /m)
  })

  test('says so when nobody looked', () => {
    const none: Traffic = {
      ...calm,
      source: 'none',
      seen: 0,
      balancer: null,
      slowestMs: null,
      usualMs: null,
      p50: null,
      p99: null,
    }
    assert.match(
      receiptLines(receipt({ traffic: none }), { width: 100, color: false })[1]!,
      /Not measured: there is no probe, and the/,
    )
    assert.match(
      receiptLines(receipt({ traffic: { ...none, unserved: 40 } }), { width: 100, color: false }).join('\n'),
      /40 sent before anything answered/,
    )
  })

  test('a rollback to a kept release says that nothing was sent', () => {
    const rollback = receipt({
      kind: 'rollback',
      servers: [{ ...web('web1', 0, 0), bytes: 0, objects: 0 }],
      bytes: 0,
      objects: 0,
    })
    assert.match(
      receiptLines(rollback, { width: 80, color: false }).join('\n'),
      /^ {2}sent {6}nothing: all was there$/m,
    )
    assert.match(
      receiptLines({ ...rollback, state: 'rolled_back', from: null }, { width: 80, color: false })[0]!,
      /^✗ Rollback 128 rolled back in 2\.1 s · release 42$/,
    )
  })

  test('no line is wider than the terminal, at any width, and colours change no text', () => {
    const wide = Array.from({ length: 14 }, (_, index) => ({
      ...web('東京-サーバー-' + index, index % 3, 0),
      outcome: 'unreachable' as const,
    }))
    for (const one of [receipt({}), receipt({ traffic: troubled }), receipt({ servers: wide, traffic: troubled })]) {
      for (let width = 40; width < 140; width += 3) {
        const plain = receiptLines(one, { width, color: false })
        for (const line of plain) assert.ok(stringWidth(line) <= width, `${stringWidth(line)} > ${width}: ${line}`)
        assert.ok(plain.every((line) => !line.includes('\u001B')))
        const coloured = receiptLines(one, { width, color: true })
        assert.ok(coloured.some((line) => line.includes('\u001B[')))
        assert.deepEqual(
          coloured.map((line) => stripVTControlCharacters(line).trimEnd()),
          plain,
        )
      }
    }
  })
})

test('bytes for people', () => {
  assert.deepEqual([0, 999, 1000, 38_400, 999_600, 1_234_567, 2_100_000_000].map(formatBytes), [
    '0 B',
    '999 B',
    '1.0 KB',
    '38 KB',
    '1.0 MB',
    '1.2 MB',
    '2.1 GB',
  ])
})

const calm: Traffic = {
  source: 'probe',
  seen: 4212,
  failed: 0,
  stalled: 0,
  unserved: 0,
  slowestMs: 31.4,
  usualMs: 3.1,
  p50: 3.2,
  p99: 8,
  noticed: [],
  balancer: {
    requests: 4212,
    serverErrors: 0,
    connectionErrors: 0,
    responseErrors: 0,
    retries: 0,
    redispatches: 0,
    restarted: false,
  },
  users: null,
  timeline: { every: 250, points: [{ at: 0, seen: 5, failed: 0, stalled: 0, slowestMs: 31.4 }] },
}

const troubled: Traffic = {
  ...calm,
  failed: 1,
  stalled: 1,
  slowestMs: 1012,
  noticed: [
    {
      at: 1200,
      ms: 1,
      what: 'failed',
      status: null,
      error: 'connection refused',
      during: [{ name: 'boot', servers: ['web1'], count: 1 }],
      cause: null,
      server: null,
      method: 'GET',
      connection: 'fresh',
      logged: null,
    },
    {
      at: 1300,
      ms: 1012,
      what: 'stalled',
      status: 200,
      error: null,
      during: [{ name: 'switch', servers: ['web1', 'web2', 'web3', 'web4', 'web5'], count: 8 }],
      cause: null,
      server: null,
      method: 'GET',
      connection: 'fresh',
      logged: null,
    },
  ],
  balancer: {
    requests: 4212,
    serverErrors: 1,
    connectionErrors: 3,
    responseErrors: 0,
    retries: 3,
    redispatches: 0,
    restarted: false,
  },
}

function web(name: string, batch: number, later: number): ReceiptServer {
  return {
    name,
    batch,
    outcome: 'switched',
    bytes: 38_000,
    objects: 3,
    spans: [
      { name: 'stage', start: 60, end: 150 },
      { name: 'stage.fetch', start: 65, end: 125 },
      { name: 'stage.unpack', start: 125, end: 145 },
      { name: 'drain', start: 200 + later, end: 400 + later },
      { name: 'in_flight', start: 210 + later, end: 390 + later },
      { name: 'switch', start: 400 + later, end: 480 + later },
      { name: 'boot', start: 480 + later, end: 980 + later },
      { name: 'health', start: 980 + later, end: 1_180 + later },
      { name: 'register', start: 1_180 + later, end: 1_360 + later },
    ],
  }
}

function receipt(changes: Partial<Receipt>): Receipt {
  return receiptSchema.parse({
    deployment: 'dep_1',
    number: 128,
    kind: 'deploy',
    from: 41,
    to: 42,
    state: 'succeeded',
    startedAt: 1_000_000,
    finishedAt: 1_002_100,
    seconds: 2.1,
    floor: { ms: 1400, parts: { roundTrip: 40, transfer: 60, unpack: 20, switch: 80, boot: 1000, health: 200 } },
    waiting: { ms: 400, parts: { inFlight: 360, bake: 40, commands: 0 } },
    overheadMs: 300,
    phases: [
      { name: 'resolve', start: 0, end: 60 },
      { name: 'stage', start: 60, end: 160 },
      { name: 'activate', start: 160, end: 2_060 },
      { name: 'bake', start: 2_060, end: 2_100 },
    ],
    servers: [web('web1', 0, 0), web('web2', 1, 700)],
    criticalPath: [
      { server: null, name: 'resolve', start: 0, ms: 40 },
      { server: 'web1', name: 'stage.fetch', start: 65, ms: 60 },
      { server: 'web1', name: 'stage.unpack', start: 125, ms: 25 },
      { server: 'web2', name: 'in_flight', start: 900, ms: 180 },
      { server: 'web2', name: 'boot', start: 1_180, ms: 500 },
    ],
    skewMs: 700,
    bytes: 76_000,
    objects: 6,
    traffic: calm,
    ...changes,
  })
}
