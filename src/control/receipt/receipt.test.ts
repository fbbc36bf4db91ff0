import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { TrafficCounters } from '../../balancers/contract.ts'
import type { DeploymentState } from '../../protocol/deployment.ts'
import { receiptSchema, type Receipt } from '../../protocol/receipt.ts'
import { innermost } from '../../protocol/spans.ts'
import { LiveTraffic } from './live-traffic.ts'
import { phasesOf } from './phases.ts'
import { makeReceipt, type ReceiptInput } from './receipt.ts'
import { quantile, type Sample } from './sample.ts'

const start = 1_700_000_000_000

suite('where the time went', () => {
  test('every millisecond is floor, waiting or overhead', () => {
    const receipt = made({})
    assert.equal(receipt.seconds, 2)
    assert.equal(sum(receipt.criticalPath.map((piece) => piece.ms)), 2_000)
    assert.equal(receipt.floor.ms + receipt.waiting.ms + receipt.overheadMs, 2_000)
    // web2 was the slowest to stage, web1 in the first batch, web3 in the second: what they did is the floor.
    assert.deepEqual(receipt.floor.parts, {
      roundTrip: 0,
      transfer: 80,
      unpack: 20,
      switch: 20 + 20,
      boot: 300 + 250,
      health: 50 + 50,
    })
    assert.deepEqual(receipt.waiting.parts, { inFlight: 40 + 30, bake: 300, commands: 0 })
    assert.equal(receipt.overheadMs, 2_000 - (80 + 20 + 40 + 550 + 100) - (70 + 300))
  })

  test('the critical path leads from the end over the slowest server of each batch to the start', () => {
    const path = made({}).criticalPath
    assert.deepEqual(
      path.map((piece) => `${piece.server ?? 'control'} ${piece.name}`),
      [
        'control resolve',
        'control stage',
        'web2 stage',
        'web2 stage.fetch',
        'web2 stage.unpack',
        'web2 stage',
        'control stage',
        'control commit',
        'control activate',
        'web1 drain',
        'web1 in_flight',
        'web1 drain',
        'web1 switch',
        'web1 boot',
        'web1 health',
        'web1 between',
        'web1 register',
        'control activate',
        'web3 drain',
        'web3 in_flight',
        'web3 drain',
        'web3 switch',
        'web3 boot',
        'web3 health',
        'web3 register',
        'control activate',
        'control bake',
      ],
    )
    let at = 0
    for (const piece of path) {
      assert.equal(piece.start, at)
      at += piece.ms
    }
  })

  test('one round trip for each time that the path enters a server, at most the unexplained time there', () => {
    const servers = input({}).servers.map((server) => ({ ...server, roundTripMs: server.server === 'web3' ? 500 : 7 }))
    // web2: stage; web1: activate; web3: activate, of which drain (2 x 10) and register (40) are unexplained.
    assert.equal(made({ servers }).floor.parts.roundTrip, 7 + 7 + 60)
  })

  test('commands of the person are waiting, not overhead', () => {
    const phases = [
      { name: 'build' as const, start: 0, end: 1_000 },
      { name: 'commit' as const, start: 1_000, end: 2_000 },
    ]
    const receipt = made({
      phases,
      servers: [],
      spans: [
        { name: 'build_command', start: 100, end: 900 },
        { name: 'release_command', start: 1_200, end: 1_900 },
      ],
    })
    assert.equal(receipt.waiting.parts.commands, 1_500)
    assert.equal(receipt.overheadMs, 500)
  })

  test('a deployment of which nothing is known is all overhead', () => {
    const receipt = made({ phases: [], servers: [] })
    assert.deepEqual(receipt.criticalPath, [{ server: null, name: 'between_phases', start: 0, ms: 2_000 }])
    assert.equal(receipt.overheadMs, 2_000)
    assert.equal(receipt.skewMs, null)
  })

  test('times that two clocks put a little out of order still add up', () => {
    const servers = input({}).servers.map((server) => ({
      ...server,
      spans: server.spans.map((span) => ({ ...span, start: span.start - 3.33, end: span.end + 2.22 })),
    }))
    const receipt = made({ servers })
    assert.equal(round(sum(receipt.criticalPath.map((piece) => piece.ms))), 2_000)
    assert.ok(receipt.criticalPath.every((piece) => piece.ms > 0))
  })

  test('skew, bytes and outcomes', () => {
    const receipt = made({})
    assert.equal(receipt.skewMs, 890 - 400)
    assert.equal(receipt.bytes, 4 * 38_000)
    assert.equal(receipt.objects, 4 * 3)
    const states = [
      'pending',
      'staged',
      'switched',
      'reverted',
      'quarantined',
      'failed',
      'unreachable',
      'unchanged',
    ] as const
    const servers = states.map((state, index) => ({ ...server(`web${index}`, null, 0), state }))
    assert.deepEqual(
      made({ servers }).servers.map((one) => one.outcome),
      ['skipped', 'skipped', 'switched', 'reverted', 'failed', 'failed', 'unreachable', 'unchanged'],
    )
  })

  test('a thousand servers are done in the blink of an eye', () => {
    const servers = Array.from({ length: 1_000 }, (_, index) => server(`web${index}`, index % 4, (index % 4) * 400))
    const began = performance.now()
    made({ servers, samples: steady(400).map((sample) => ({ ...sample, status: 503 })) })
    assert.ok(performance.now() - began < 2_000, `${performance.now() - began} ms`)
  })

  test('the innermost span stands for its time', () => {
    const spans = [
      { name: 'outer', start: 0, end: 10 },
      { name: 'inner', start: 2, end: 5 },
      { name: 'empty', start: 7, end: 7 },
      { name: 'next', start: 10, end: 12 },
      { name: 'far', start: 20, end: 21 },
    ]
    assert.deepEqual(innermost(spans), [
      { name: 'outer', start: 0, end: 2 },
      { name: 'inner', start: 2, end: 5 },
      { name: 'outer', start: 5, end: 10 },
      { name: 'next', start: 10, end: 12 },
      { name: 'far', start: 20, end: 21 },
    ])
  })

  test('phases come out of the stored transitions', () => {
    const transitions: { state: DeploymentState; at: number }[] = [
      { state: 'queued', at: start - 500 },
      { state: 'resolving', at: start },
      { state: 'building', at: start + 40 },
      { state: 'staging', at: start + 50 },
      { state: 'committing', at: start + 90 },
      { state: 'activating', at: start + 95 },
      { state: 'rolling_back', at: start + 600 },
      { state: 'rolled_back', at: start + 900 },
    ]
    assert.deepEqual(
      phasesOf(transitions, start, start + 900).map((phase) => [phase.name, phase.start, phase.end]),
      [
        ['resolve', 0, 40],
        ['build', 40, 50],
        ['stage', 50, 90],
        ['commit', 90, 95],
        ['activate', 95, 600],
        ['roll_back', 600, 900],
      ],
    )
  })
})

suite('what users noticed', () => {
  test('nothing, when all answers are as usual', () => {
    const { traffic } = made({ samples: steady(60) })
    assert.deepEqual(
      { ...traffic, timeline: null },
      {
        source: 'probe',
        seen: 41,
        failed: 0,
        stalled: 0,
        unserved: 0,
        slowestMs: 5,
        usualMs: 3,
        p50: 3,
        p99: 5,
        noticed: [],
        balancer: null,
        users: null,
        timeline: null,
      },
    )
    assert.equal(traffic.timeline.every, 250)
    assert.equal(sum(traffic.timeline.points.map((point) => point.seen)), 41)
    assert.deepEqual(traffic.timeline.points[0], { at: 0, seen: 5, failed: 0, stalled: 0, slowestMs: 5 })
  })

  test('failures and stalls, with what ran then', () => {
    const samples = [
      ...steady(60),
      { at: start + 450, ms: 2, status: null, error: 'connection refused' },
      { at: start + 510, ms: 1_010, status: 200, error: null },
      { at: start + 960, ms: 4, status: 503, error: null },
      { at: start + 1_900, ms: 252.9, status: 200, error: null },
      { at: start + 1_910, ms: 253, status: 200, error: null },
    ]
    const { traffic } = made({ samples })
    assert.deepEqual([traffic.seen, traffic.failed, traffic.stalled, traffic.slowestMs], [46, 2, 2, 1_010])
    assert.deepEqual(
      traffic.noticed.map((one) => [one.at, one.what, one.error ?? one.status, one.during[0]]),
      [
        [450, 'failed', 'connection refused', { name: 'boot', servers: ['web1', 'web2'], count: 2 }],
        [510, 'stalled', 200, { name: 'boot', servers: ['web1', 'web2'], count: 2 }],
        [960, 'failed', 503, { name: 'boot', servers: ['web3', 'web4'], count: 2 }],
        [1_910, 'stalled', 200, { name: 'bake', servers: [], count: 0 }],
      ],
    )
    assert.equal(sum(traffic.timeline.points.map((point) => point.failed + point.stalled)), 4)
  })

  test('what is usual is what was before traffic was touched, however slow it became', () => {
    const slow = steady(60).map((sample) => (sample.at < start + 310 ? sample : { ...sample, ms: 400 }))
    const { traffic } = made({ samples: slow })
    assert.equal(traffic.usualMs, 3)
    assert.equal(traffic.stalled, 34)
    // With fewer than ten answers before, all of them tell.
    assert.equal(made({ samples: slow.filter((sample) => sample.at > start + 200) }).traffic.usualMs, 400)
  })

  test('an address that usually refuses has not failed when it refuses; another has', () => {
    const refusing = steady(60).map((sample) => ({ ...sample, status: 401 }))
    assert.equal(made({ samples: refusing }).traffic.failed, 0)
    assert.equal(made({ samples: refusing }).traffic.usualMs, 3)
    const turned = steady(60).map((sample) => (sample.at < start + 400 ? sample : { ...sample, status: 404 }))
    assert.equal(made({ samples: turned }).traffic.failed, 33)
  })

  test('few answers before are enough to know that an address does not refuse', () => {
    const gone = steady(60)
      .filter((sample) => sample.at > start + 200)
      .map((sample) => (sample.at < start + 400 ? sample : { ...sample, status: 404 }))
    assert.equal(made({ samples: gone }).traffic.failed, 33)
  })

  test('before a first deployment there was nobody to notice, and it says how often nobody answered', () => {
    const samples = steady(60).map((sample) => (sample.at < start + 700 ? { ...sample, status: 503 } : sample))
    const first = made({ samples, deployment: { from: null } }).traffic
    assert.deepEqual(
      [first.unserved, first.seen, first.failed],
      [samples.filter((sample) => sample.status === 503).length, 27, 0],
    )
    assert.equal(made({ samples }).traffic.failed, 14)
    const never = made({
      samples: samples.map((sample) => ({ ...sample, status: 503 })),
      deployment: { from: null },
    }).traffic
    assert.deepEqual([never.source, never.seen, never.unserved], ['none', 0, samples.length])
  })

  test('a broken service that a deployment repairs was still seen broken', () => {
    const broken = steady(60).map((sample) => (sample.at < start + 700 ? { ...sample, status: 500 } : sample))
    assert.deepEqual(made({ samples: broken }).traffic.noticed[0]!.during, [{ name: 'resolve', servers: [], count: 0 }])
  })

  test('at most 200 are listed, all are counted', () => {
    const { traffic } = made({
      samples: Array.from({ length: 500 }, (_, index) => ({ at: start + index, ms: 1, status: 502, error: null })),
    })
    assert.deepEqual([traffic.failed, traffic.noticed.length], [500, 200])
  })

  test('the balancer is believed where there was no probe, its retries as stalls', () => {
    const { traffic } = made({ counters: { before: counters(1_000, 5, 2), after: counters(1_412, 6, 5) } })
    assert.deepEqual(
      [traffic.source, traffic.seen, traffic.failed, traffic.stalled, traffic.slowestMs],
      ['balancer', 412, 1, 3, null],
    )
    assert.equal(made({}).traffic.source, 'none')
    assert.equal(made({ counters: { before: counters(1, 0, 0), after: null } }).traffic.source, 'none')
  })

  test('a balancer that was started again counts from zero', () => {
    const { traffic } = made({
      samples: steady(60),
      counters: { before: counters(1_000, 5, 2), after: counters(300, 6, 0) },
    })
    assert.deepEqual(traffic.balancer, {
      requests: 300,
      serverErrors: 6,
      connectionErrors: 0,
      responseErrors: 0,
      retries: 0,
      redispatches: 0,
      restarted: true,
    })
    assert.equal(traffic.seen, 41)
  })

  test('a long deployment keeps its timeline small', () => {
    const { traffic } = made({ deployment: { finishedAt: start + 3_600_000 }, samples: steady(60) })
    assert.equal(traffic.timeline.every, 10_000)
    assert.ok(traffic.timeline.points.length <= 600)
  })

  test('live counts agree with the receipt as long as the beginning was calm', () => {
    const samples = [
      ...steady(60),
      { at: start + 510, ms: 1_010, status: 200, error: null },
      { at: start + 960, ms: 4, status: 503, error: null },
    ].filter((sample) => sample.at >= start && sample.at <= start + 2_000)
    const live = new LiveTraffic(false)
    for (let index = 0; index < samples.length; index += 7) live.add(samples.slice(index, index + 7))
    const { traffic } = made({ samples })
    assert.deepEqual(live.counts, {
      seen: traffic.seen,
      failed: traffic.failed,
      stalled: traffic.stalled,
      slowestMs: 1_010,
    })
    const later = new LiveTraffic(true)
    later.add(Array.from({ length: 150 }, () => ({ at: start, ms: 1, status: 503, error: null })))
    assert.equal(later.counts.seen, 0)
    later.add(Array.from({ length: 150 }, (_, index) => ({ at: start + index, ms: 1, status: 200, error: null })))
    later.add([{ at: start + 200, ms: 400, status: 200, error: null }])
    assert.deepEqual(later.counts, { seen: 151, failed: 0, stalled: 1, slowestMs: 400 })
  })

  test('quantiles', () => {
    assert.equal(quantile([3, 1, 2], 0.5), 2)
    assert.equal(quantile([5], 0.99), 5)
    assert.equal(
      quantile(
        Array.from({ length: 100 }, (_, index) => index + 1),
        0.99,
      ),
      99,
    )
    assert.ok(Number.isNaN(quantile([], 0.5)))
  })
})

/** A request every 50 ms from a second before the start on. */
function steady(count: number): Sample[] {
  return Array.from({ length: count + 20 }, (_, index) => ({
    at: start - 1_000 + index * 50,
    ms: index % 10 === 0 ? 5 : 3,
    status: 200,
    error: null,
  }))
}

function counters(requests: number, serverErrors: number, retries: number): TrafficCounters {
  return { requests, serverErrors, connectionErrors: 0, responseErrors: 0, retries, redispatches: 0 }
}

function made(changes: Parameters<typeof input>[0]): Receipt {
  const receipt = makeReceipt(input(changes))
  assert.deepEqual(receiptSchema.parse(JSON.parse(JSON.stringify(receipt))), receipt)
  return receipt
}

/** Four servers in two batches; times relative to the start. web2 stages longest; web1 and web3 are their batches' slowest. */
function input(
  changes: Partial<Omit<ReceiptInput, 'deployment'>> & { deployment?: Partial<ReceiptInput['deployment']> },
): ReceiptInput {
  const { deployment, ...rest } = changes
  return {
    deployment: {
      id: 'dep_1',
      number: 128,
      kind: 'deploy',
      from: 41,
      to: 42,
      state: 'succeeded',
      startedAt: start,
      finishedAt: start + 2_000,
      ...deployment,
    },
    phases: [
      { name: 'resolve', start: 0, end: 50 },
      { name: 'stage', start: 50, end: 250 },
      { name: 'commit', start: 250, end: 310 },
      { name: 'activate', start: 310, end: 1_700 },
      { name: 'bake', start: 1_700, end: 2_000 },
    ],
    servers: [
      server('web1', 0, 0, { boot: 300, between: 5, inFlight: 40 }),
      server('web2', 0, 0, { boot: 200, fetch: 80, inFlight: 40 }),
      server('web3', 1, 500, { boot: 250, inFlight: 30 }),
      server('web4', 1, 500, { boot: 100, inFlight: 30 }),
    ],
    samples: [],
    counters: { before: null, after: null },
    ...rest,
  }
}

function server(
  name: string,
  batch: number | null,
  later: number,
  { boot = 200, between = 0, fetch = 30, inFlight = 20 } = {},
): ReceiptInput['servers'][number] {
  const drained = 320 + later + 10 + inFlight + 10
  const healthy = drained + 20 + boot + 50
  return {
    server: name,
    batch,
    state: 'switched',
    bytes: 38_000,
    objects: 3,
    spans: [
      { name: 'stage', start: 60, end: 60 + fetch + 60 },
      { name: 'stage.fetch', start: 70, end: 70 + fetch },
      { name: 'stage.unpack', start: 70 + fetch, end: 90 + fetch },
      { name: 'drain', start: 320 + later, end: drained },
      { name: 'in_flight', start: 330 + later, end: 330 + later + inFlight },
      { name: 'switch', start: drained, end: drained + 20 },
      { name: 'boot', start: drained + 20, end: drained + 20 + boot },
      { name: 'health', start: drained + 20 + boot, end: healthy },
      { name: 'register', start: healthy + between, end: healthy + between + 40 },
    ],
  }
}

function sum(values: readonly number[]): number {
  return round(values.reduce((total, value) => total + value, 0))
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
