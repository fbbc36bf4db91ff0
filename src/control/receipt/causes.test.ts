import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { causeIds, type CauseId } from '../../protocol/causes.ts'
import type { Suggestion } from '../../protocol/receipt.ts'
import { openBalancer } from '../../balancers/registry.ts'
import { capacityOf } from './capacity.ts'
import { causesOf, type CausesInput, type DeploymentFacts, type Noticed } from './causes.ts'

const facts: DeploymentFacts = {
  balancer: 'haproxy',
  reloads: false,
  remedies: openBalancer({ kind: 'haproxy', address: ['unix:/x'], backend: ['web'] }).remedies!,
  drains: true,
  restarted: false,
  failedAt: [],
  warm: false,
  idle: [],
  drainTimeout: 1_000,
  stopTimeout: 10_000,
  cut: new Map(),
  retired: new Map(),
  environment: 'production',
  probePath: '/ready',
  hooks: { after_stage: 'systemctl stop shop' },
}
const bare: Partial<DeploymentFacts> = { balancer: 'none', drains: false }
const reset = { status: null, error: 'connection reset' }

/** web1 drains from 1,000, is switched from 1,100 to 1,200, healthy at 1,600 and back at 1,650; web2 2 s later. */
function server(
  name: string,
  {
    later = 0,
    stop = 100,
    boot = 300,
    inFlight = 50,
    register = 50,
    hooks = [] as { name: string; start: number; end: number }[],
    outcome = 'switched' as const as CausesInput['servers'][number]['outcome'],
  } = {},
): CausesInput['servers'][number] {
  const start = 1_000 + later
  const stopped = start + 50 + inFlight + stop
  const healthy = stopped + boot + 100
  return {
    name,
    outcome,
    spans: [
      { name: 'stage', start: 100, end: 400 },
      { name: 'drain', start, end: start + 50 + inFlight },
      { name: 'in_flight', start: start + 20, end: start + 20 + inFlight },
      { name: 'activate', start: start + 50 + inFlight, end: healthy },
      { name: 'switch', start: start + 50 + inFlight, end: stopped },
      { name: 'boot', start: stopped, end: stopped + boot },
      { name: 'health', start: stopped + boot, end: healthy },
      { name: 'register', start: healthy, end: healthy + register },
      ...hooks,
    ],
  }
}

function request(at: number, ms: number, changes: Partial<Noticed> = {}): Noticed {
  return {
    at,
    ms,
    what: 'failed',
    status: 502,
    error: null,
    server: null,
    method: 'GET',
    connection: 'kept',
    ...changes,
  }
}

const afterStage = [{ name: 'stage.after_stage', start: 300, end: 390 }]
const cases: {
  name: string
  cause: CauseId
  servers: string[]
  step: string | null
  noticed?: Noticed[]
  lanes?: CausesInput['servers']
  facts?: Partial<DeploymentFacts>
  lines: RegExp
  where?: Suggestion['where']
}[] = [
  {
    name: 'a request that ends with its process after the time to stop was up',
    cause: 'killed_in_flight',
    servers: ['web1'],
    step: 'switch',
    noticed: [request(500, 2_610, reset)],
    lanes: [server('web1', { stop: 2_000 }), server('web2', { later: 4_000 })],
    facts: { cut: new Map([['web1', 3]]), stopTimeout: 2_000 },
    lines: /drain: 30s/,
  },
  {
    name: 'a request that ends the moment the process is told to stop',
    cause: 'socket_closed_at_once',
    servers: ['web2'],
    step: 'switch',
    noticed: [request(2_000, 1_120, reset)],
    facts: { cut: new Map([['web2', 1]]) },
    lines: /drain: 30s/,
  },
  {
    name: 'the same without a balancer',
    cause: 'socket_closed_at_once',
    servers: ['web1'],
    step: 'switch',
    noticed: [request(600, 510, reset)],
    facts: bare,
    lines: /server\.close/,
    where: 'application',
  },
  {
    name: 'a request that the release before had when it was killed, with the new one beside it',
    cause: 'killed_in_flight',
    servers: ['web1'],
    step: 'switch',
    noticed: [request(1_900, 2_110, reset), request(2_500, 1_500, reset)],
    facts: {
      warm: true,
      stopTimeout: 2_000,
      retired: new Map([['web1', { start: 2_000, end: 4_010, killed: true, connections: 2 }]]),
    },
    lines: /server\.close/,
    where: 'application',
  },
  {
    name: 'a request that the release before drops on its signal, with the new one beside it',
    cause: 'socket_closed_at_once',
    servers: ['web2'],
    step: 'switch',
    noticed: [request(3_900, 205, reset)],
    facts: {
      warm: true,
      retired: new Map([
        ['web1', { start: 2_000, end: 2_010, killed: false, connections: 0 }],
        ['web2', { start: 4_100, end: 4_110, killed: false, connections: 0 }],
      ]),
    },
    lines: /server\.close/,
    where: 'application',
  },
  {
    name: 'a refused connection while the only way leads to a server that starts',
    cause: 'refused_while_registered',
    servers: ['web1'],
    step: 'boot',
    noticed: [request(1_300, 1, { status: null, error: 'connection refused' })],
    facts: bare,
    lines: /handover: port/,
  },
  {
    name: 'a balancer that nobody told sends to a server that starts',
    cause: 'balancer_unaware',
    servers: ['web2'],
    step: 'boot',
    noticed: [request(3_300, 3, { status: 503 })],
    facts: bare,
    lines: /kind: haproxy/,
  },
  {
    name: 'a balancer that tries again until it works',
    cause: 'balancer_unaware',
    servers: ['web2'],
    step: 'switch',
    noticed: [request(3_150, 1_010, { status: 200, what: 'stalled' })],
    facts: bare,
    lines: /kind: haproxy/,
  },
  {
    name: 'a server is asked, and says so, although it was drained',
    cause: 'balancer_unaware',
    servers: ['web1'],
    step: 'boot',
    noticed: [request(1_300, 3, { status: 503, server: 'web1' })],
    lines: /kind: haproxy/,
  },
  {
    name: 'a server is healthy, is put back, and answers 503',
    cause: 'not_ready',
    servers: ['web1'],
    step: 'health',
    noticed: [request(1_700, 3, { status: 503 }), request(1_800, 3, { status: 503, server: 'web1' })],
    lines: /path: \/ready/,
  },
  {
    name: 'a server that is put back answers slowly at first',
    cause: 'not_ready',
    servers: ['web1'],
    step: 'health',
    noticed: [request(1_700, 800, { status: 200, what: 'stalled', server: 'web1' })],
    lines: /path: \/ready/,
  },
  {
    name: 'the new release answers 500',
    cause: 'new_release_fails',
    servers: ['web1'],
    step: 'health',
    noticed: [request(1_800, 3, { status: 500, server: 'web1' })],
    lines: /path: \/ready/,
  },
  {
    name: 'a hook stops the service of a server in traffic',
    cause: 'hook_stopped_service',
    servers: ['web2'],
    step: 'after_stage',
    noticed: [request(500, 3, { status: 503 }), request(700, 1_003, { status: 200, what: 'stalled' })],
    lanes: [server('web1'), server('web2', { later: 2_000, hooks: afterStage })],
    lines: /before_activate: "systemctl stop shop"/,
  },
  {
    name: 'a request that nobody may send again meets the end of an idle connection',
    cause: 'keep_alive_race',
    servers: [],
    step: null,
    noticed: [request(200, 2, { method: 'POST' }), request(5_000, 2, { method: 'POST' })],
    lines: /keepAliveTimeout/,
    where: 'application',
  },
  {
    name: 'the same where the balancer counted at which server',
    cause: 'keep_alive_race',
    servers: ['web2'],
    step: null,
    noticed: [request(200, 2, { method: 'POST', ...reset })],
    facts: { failedAt: ['web2'] },
    lines: /keepAliveTimeout/,
    where: 'application',
  },
  {
    name: 'a file of the old release is gone',
    cause: 'old_assets_missing',
    servers: ['web1'],
    step: 'switch',
    noticed: [request(1_700, 2, { status: 404 })],
    lines: /assets: \[public\/assets\]/,
  },
  {
    name: 'nginx ends connections when it is reloaded',
    cause: 'balancer_reload',
    servers: [],
    step: 'drain',
    noticed: [request(1_000, 40, reset)],
    facts: {
      balancer: 'nginx',
      reloads: true,
      remedies: { restarted: { text: 'nginx', where: 'balancer', lines: ['worker_shutdown_timeout 60s;'] } },
    },
    lines: /worker_shutdown_timeout/,
    where: 'balancer',
  },
  {
    name: 'Caddy ends connections when it is told another upstream',
    cause: 'balancer_reload',
    servers: [],
    step: 'register',
    noticed: [request(1_600, 40, reset)],
    facts: { balancer: 'caddy', reloads: true, remedies: {} },
    lines: /dploy doctor production/,
    where: 'balancer',
  },
  {
    name: 'a balancer was started again',
    cause: 'balancer_reload',
    servers: [],
    step: null,
    noticed: [request(500, 4, { status: null, error: 'connection refused' })],
    facts: { restarted: true },
    lines: /expose-fd/,
    where: 'balancer',
  },
  {
    name: 'a request fails before anything was touched',
    cause: 'outside',
    servers: [],
    step: null,
    noticed: [request(50, 4, { status: 500 })],
    lines: /dploy logs production/,
    where: 'application',
  },
  {
    name: 'old processes that do not end',
    cause: 'stop_ignored',
    servers: ['web1', 'web2'],
    step: 'switch',
    lanes: [server('web1', { stop: 10_010 }), server('web2', { stop: 10_020 })],
    lines: /signal: SIGKILL/,
  },
  {
    name: 'an application that takes long to start',
    cause: 'slow_boot',
    servers: ['web1'],
    step: 'boot',
    lanes: [server('web1', { boot: 6_000 }), server('web2')],
    lines: /handover: port/,
  },
  {
    name: 'requests that take long',
    cause: 'slow_drain',
    servers: ['web2'],
    step: 'drain',
    lanes: [server('web1'), server('web2', { inFlight: 4_000 })],
    lines: /handover: port/,
  },
  {
    name: 'a balancer that checks seldom',
    cause: 'slow_register',
    servers: ['web1'],
    step: 'register',
    lanes: [server('web1', { register: 9_000 }), server('web2')],
    lines: /inter 1s/,
    where: 'balancer',
  },
]

suite('causes', () => {
  for (const one of cases) {
    test(`${one.name}: ${one.cause}`, () => {
      const noticed = one.noticed ?? []
      const { judged, causes } = causesOf({
        noticed,
        servers: one.lanes ?? [server('web1'), server('web2', { later: 2_000 })],
        path: [],
        total: 20_000,
        facts: { ...facts, ...one.facts },
      })
      assert.deepEqual(
        judged.map(({ cause }) => cause),
        noticed.map(() => one.cause),
        causes.flatMap(({ evidence }) => evidence).join('; '),
      )
      const named = causes.find(({ id }) => id === one.cause)!
      assert.deepEqual([named.servers, named.step, named.requests], [one.servers, one.step, noticed.length])
      assert.ok(named.evidence.length > 0)
      assert.match(named.suggestion.lines.join('\n'), one.lines)
      assert.equal(named.suggestion.where, one.where ?? 'dploy.yml')
    })
  }

  test('every cause has a case here', () => {
    assert.deepEqual(
      causeIds.filter((id) => !cases.some(({ cause }) => cause === id)),
      [],
    )
  })

  test('a deployment of which nobody noticed anything has no cause', () => {
    assert.deepEqual(
      causesOf({ noticed: [], servers: [server('web1'), server('web2')], path: [], total: 5_000, facts }),
      { judged: [], causes: [] },
    )
  })

  test('what users noticed comes before what only cost time, and what nobody can explain after what somebody can', () => {
    const { causes } = causesOf({
      noticed: [request(50, 4), request(60, 4), request(1_700, 2, { status: 404 })],
      servers: [server('web1', { boot: 6_000 })],
      path: [],
      total: 10_000,
      facts,
    })
    assert.deepEqual(
      causes.map(({ id }) => id),
      ['old_assets_missing', 'outside', 'slow_boot'],
    )
  })

  test('capacity is the share of servers in traffic', () => {
    const together = [
      server('web1'),
      server('web2'),
      server('web3', { later: 2_000 }),
      server('web4', { later: 2_000 }),
    ]
    assert.deepEqual(capacityOf(together, 6_500, { drains: true, warm: false }), { least: 0.5, mean: 0.9 })
    assert.deepEqual(capacityOf(together, 6_500, { drains: true, warm: true }), { least: 1, mean: 1 })
    assert.deepEqual(
      capacityOf(
        [
          {
            ...server('web1'),
            spans: server('web1').spans.filter(({ name }) => name !== 'register'),
            outcome: 'failed',
          },
        ],
        2_000,
        { drains: true, warm: false },
      ),
      { least: 0, mean: 0.5 },
    )
    assert.equal(capacityOf([], 100, { drains: true, warm: false }), null)
  })
})
