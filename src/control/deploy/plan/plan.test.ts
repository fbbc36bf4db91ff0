import assert from 'node:assert/strict'
import { test } from 'node:test'
import { batchSize, plan, obstacle, type Desired, type ObservedServer } from './plan.ts'

const names = (count: number) => Array.from({ length: count }, (_, index) => `web${index + 1}`)

const desired = (changes: Partial<Desired> = {}): Desired => ({
  kind: 'deploy',
  application: 'shop',
  environment: 'production',
  release: 2,
  from: 1,
  servers: names(8),
  strategy: {
    kind: 'rolling',
    canary: '10%',
    guard: 'on',
    downtime: 'refused',
    judge: 60_000,
    inconclusive: 'continue',
    batch: '25%',
    min_healthy: 0,
    order: [],
    pause: 'never',
    pause_limit: 3_600_000,
    bake_group: 0,
    max_failures: 0,
    max_unavailable: 0,
    bake: 2_000,
    bake_batch: 0,
  },
  releaseCommand: null,
  drains: true,
  hasService: true,
  ...changes,
})

const running = (current: number | null, releases: number[] = current === null ? [] : [current]): ObservedServer => ({
  current,
  releases,
  running: current !== null,
})
const all = (servers: readonly string[], seen: ObservedServer | null) => new Map(servers.map((name) => [name, seen]))

test('rolling in quarters: four batches of two, each drained, activated, registered', () => {
  const value = plan(desired(), all(names(8), running(1)))
  assert.deepEqual(value.batches, [
    ['web1', 'web2'],
    ['web3', 'web4'],
    ['web5', 'web6'],
    ['web7', 'web8'],
  ])
  assert.deepEqual(value.perServer, ['drain', 'activate', 'register'])
  assert.deepEqual(value.warnings, [])
})

test('batches are as large as what the others can carry, with a quarter more than is asked now; never none, and never against min_healthy', () => {
  const { strategy } = desired()
  const sizes = (load: number | null, changes: Partial<typeof strategy> = {}) => {
    const value = plan(
      desired({ load, strategy: { ...strategy, batch: 'auto', capacity: 100, ...changes } }),
      all(names(8), running(1)),
    )
    return { sizes: value.batches.map(({ length }) => length), warnings: value.warnings.length }
  }
  // 8 servers carry 800: 240 a second, and a quarter more, need 3.
  assert.deepEqual(sizes(240), { sizes: [5, 3], warnings: 0 })
  assert.deepEqual(sizes(240, { min_healthy: '50%' }), { sizes: [4, 4], warnings: 0 })
  assert.deepEqual(sizes(500), { sizes: [1, 1, 1, 1, 1, 1, 1, 1], warnings: 0 })
  assert.deepEqual(sizes(700), { sizes: [1, 1, 1, 1, 1, 1, 1, 1], warnings: 1 })
  assert.deepEqual(sizes(0), { sizes: [8], warnings: 1 })
  assert.deepEqual(sizes(null), { sizes: [2, 2, 2, 2], warnings: 1 })
})

test('servers that run the release already are left alone', () => {
  const seen = all(names(8), running(1))
  seen.set('web3', running(2, [1, 2]))
  const value = plan(desired(), seen)
  assert.deepEqual(value.unchanged, ['web3'])
  assert.ok(!value.batches.flat().includes('web3'))
  assert.ok(!value.stage.some((stage) => stage.server === 'web3'))
})

test('a server whose service does not run the release that current points at is switched', () => {
  const seen = all(names(2), running(2))
  seen.set('web2', { current: 2, releases: [2], running: false })
  assert.deepEqual(plan(desired({ servers: names(2) }), seen).batches, [['web2']])
})

test('where nothing runs yet, all switch together', () => {
  assert.deepEqual(plan(desired({ from: null }), all(names(8), running(null))).batches, [names(8)])
})

test('a server that cannot be reached is in no batch', () => {
  const seen: Map<string, ObservedServer | null> = all(names(4), running(1))
  seen.set('web2', null)
  const value = plan(desired({ servers: names(4) }), seen)
  assert.deepEqual(value.unreachable, ['web2'])
  assert.deepEqual(value.batches.flat(), ['web1', 'web3', 'web4'])
})

test('a release that is kept on a server needs no bytes', () => {
  const value = plan(desired({ kind: 'rollback', release: 1, from: 2 }), all(names(2), running(2, [1, 2])))
  assert.ok(value.stage.every((stage) => stage.already))
})

test('the release command runs once, on the first server that switches, and not in a rollback', () => {
  assert.deepEqual(plan(desired({ releaseCommand: 'migrate' }), all(names(8), running(1))).releaseCommand, {
    server: 'web1',
    command: 'migrate',
  })
  assert.equal(
    plan(desired({ kind: 'rollback', releaseCommand: 'migrate' }), all(names(8), running(1))).releaseCommand,
    null,
  )
})

test('without a balancer the plan says what users will see', () => {
  const value = plan(desired({ drains: false }), all(names(8), running(1)))
  assert.deepEqual(value.perServer, ['activate'])
  assert.match(value.warnings.join(), /requests in flight are cut/)
})

test('switching all at once behind a balancer is warned about', () => {
  const value = plan(desired({ strategy: { ...desired().strategy, kind: 'all-at-once' } }), all(names(8), running(1)))
  assert.equal(value.batches.length, 1)
  assert.match(value.warnings.join(), /nobody serves/)
})

test('the same input gives the same plan', () => {
  assert.deepEqual(plan(desired(), all(names(8), running(1))), plan(desired(), all(names(8), running(1))))
})

test('a batch is at least one server and at most all of them', () => {
  const cases: [number | string, number, number][] = [
    ['25%', 8, 2],
    ['25%', 2, 1],
    ['25%', 3, 1],
    ['0%', 5, 1],
    ['100%', 5, 5],
    [3, 8, 3],
    [50, 8, 8],
    ['33%', 100, 33],
    ['25%', 0, 1],
  ]
  for (const [batch, count, size] of cases) assert.equal(batchSize(batch, count), size, `${batch} of ${count}`)
})

test('where the release takes over warm, all servers switch together and none is drained', () => {
  const warm = { ...running(1), handover: 'port' as const }
  const value = plan(desired({ handover: 'port' }), all(names(8), warm))
  assert.equal(value.warm, true)
  assert.deepEqual(value.batches, [names(8)])
  assert.deepEqual(value.perServer, ['activate'])
  assert.deepEqual(value.warnings, [])
})

test('a release takes over warm only where all that runs was started for it', () => {
  const seen: Map<string, ObservedServer | null> = all(names(4), { ...running(1), handover: 'port' })
  assert.equal(plan(desired({ servers: names(4), handover: 'socket' }), seen).warm, false)
  seen.set('web3', running(1))
  const value = plan(desired({ servers: names(4), handover: 'port' }), seen)
  assert.equal(value.warm, false)
  assert.equal(value.batches.length, 4)
  assert.deepEqual(value.perServer, ['drain', 'activate', 'register'])
  assert.equal(
    plan(desired({ servers: names(2), handover: 'port', from: null }), all(names(2), running(null))).warm,
    false,
  )
})

test('a canary goes first, alone, and is judged; the others follow in batches', () => {
  const value = plan(
    desired({ strategy: { ...desired().strategy, kind: 'canary', canary: 1 } }),
    all(names(8), running(1)),
  )
  assert.equal(value.batches[0]!.length, 1)
  assert.equal(value.batches.length, 5)
  assert.equal(value.batches.flat().length, 8)
  assert.deepEqual(value.canary, { duration: 60_000, traffic: null, queries: [], inconclusive: 'continue' })
})

test('where there is nobody to compare with, or on the way back, there is no canary', () => {
  const strategy = { ...desired().strategy, kind: 'canary' as const, canary: '100%' }
  assert.equal(plan(desired({ strategy }), all(names(8), running(1))).canary, null)
  assert.equal(
    plan(desired({ strategy: { ...strategy, canary: 1 }, kind: 'rollback' }), all(names(8), running(1))).canary,
    null,
  )
})

test('a canary by a share of the traffic, which not every balancer can', () => {
  const wanted = desired({
    strategy: { ...desired().strategy, kind: 'canary', canary: 1, traffic: '5%' },
    splits: true,
  })
  const value = plan(wanted, all(names(8), running(1)))
  assert.deepEqual(value.canary, { duration: 60_000, traffic: 0.05, queries: [], inconclusive: 'continue' })
  assert.equal(obstacle(wanted, value), null)
  assert.equal(obstacle({ ...wanted, splits: false }, value)!.code, 'balancer.cannot_split')
})

const zones = new Map(names(8).map((server, index) => [server, { zone: index < 3 ? 'a' : index < 6 ? 'b' : 'c' }]))

test('an order of tags makes groups, which no batch mixes; those without a tag of it are last', () => {
  const strategy = { ...desired().strategy, batch: 2, order: ['zone=b', 'zone=a'] }
  const value = plan(desired({ strategy, tags: zones }), all(names(8), running(1)))
  assert.deepEqual(value.batches, [['web4', 'web5'], ['web6'], ['web1', 'web2'], ['web3'], ['web7', 'web8']])
  assert.deepEqual(value.gates, [])
})

test('a person is asked after groups, after the canary or after each batch, and never on the way back', () => {
  const strategy = {
    ...desired().strategy,
    batch: 2,
    order: ['zone=b'],
    pause: 'after_group' as const,
    bake_group: 5_000,
  }
  assert.deepEqual(plan(desired({ strategy, tags: zones }), all(names(8), running(1))).gates, [
    { before: 2, after: 'group', bake: 5_000, person: true },
  ])
  assert.deepEqual(plan(desired({ strategy, tags: zones, kind: 'rollback' }), all(names(8), running(1))).gates, [
    { before: 2, after: 'group', bake: 5_000, person: false },
  ])
  const canary = { ...desired().strategy, kind: 'canary' as const, canary: 1, batch: 4, pause: 'after_canary' as const }
  assert.deepEqual(plan(desired({ strategy: canary }), all(names(8), running(1))).gates, [
    { before: 1, after: 'canary', bake: 0, person: true },
  ])
  assert.equal(
    plan(desired({ strategy: { ...desired().strategy, batch: 2, pause: 'after_batch' } }), all(names(8), running(1)))
      .gates.length,
    3,
  )
})

test('batches are made smaller where as many servers have to stay in traffic, and more than can is refused', () => {
  const kept = (min_healthy: number | string, seen = all(names(8), running(1))) => {
    const wanted = desired({ strategy: { ...desired().strategy, batch: '50%', min_healthy }, from: 1 })
    const value = plan(wanted, seen)
    return { size: value.batches[0]!.length, code: obstacle(wanted, value)?.code ?? null }
  }
  assert.deepEqual(kept(0), { size: 4, code: null })
  assert.deepEqual(kept('75%'), { size: 2, code: null })
  assert.deepEqual(kept(7), { size: 1, code: null })
  assert.deepEqual(kept(8), { size: 1, code: 'environment.too_few_healthy' })
  assert.deepEqual(kept(7, all(names(8), running(1)).set('web8', null)), {
    size: 1,
    code: 'environment.too_few_healthy',
  })
})

test('a server that converges is switched and put into traffic, whatever it runs', () => {
  const value = plan(desired({ kind: 'converge', servers: ['web1'] }), all(['web1'], running(2)))
  assert.deepEqual(value.batches, [['web1']])
  assert.deepEqual(value.unchanged, [])
})

const seen = (traffic: ObservedServer['traffic'], current: number | null = 1): ObservedServer => ({
  ...running(current),
  traffic,
})

test('servers that are down or out go first: that costs nobody anything', () => {
  const value = plan(
    desired({ servers: names(3), strategy: { ...desired().strategy, batch: 1 } }),
    new Map([
      ['web1', seen('serving')],
      ['web2', seen('down')],
      ['web3', seen('out')],
    ]),
  )
  assert.deepEqual(value.batches, [['web2'], ['web3'], ['web1']])
  assert.deepEqual(value.traffic, { web1: 'serving', web2: 'down', web3: 'out' })
})

test('a canary is judged by what it answers: there, those that serve go first', () => {
  const strategy = { ...desired().strategy, kind: 'canary' as const, canary: 1, batch: 1 }
  const value = plan(
    desired({ servers: names(3), strategy }),
    new Map([
      ['web1', seen('down')],
      ['web2', seen('serving')],
      ['web3', seen('serving')],
    ]),
  )
  assert.deepEqual(value.batches[0], ['web2'])
})

test('a first deployment goes batch by batch where the balancer sees that something serves already', () => {
  const first = desired({ servers: names(3), from: null, release: 1, strategy: { ...desired().strategy, batch: 1 } })
  assert.equal(plan(first, all(names(3), seen('serving', null))).batches.length, 3)
  assert.equal(plan(first, all(names(3), seen('down', null))).batches.length, 1, 'nobody to protect')
  assert.equal(plan(first, all(names(3), seen(null, null))).batches.length, 1, 'a balancer that does not check')
})

test('the last server in traffic does not leave it, unless somebody wants it so', () => {
  const two = (changes: Partial<Desired> = {}) => desired({ servers: names(2), leftOut: ['web2'], ...changes })
  const observed = new Map([
    ['web1', seen('serving')],
    ['web2', seen('out')],
  ])
  const refused = obstacle(two(), plan(two(), observed))
  assert.equal(refused?.code, 'environment.last_serving')
  assert.equal(refused?.message, 'web1 is the last server in traffic: web2 is out of traffic at the balancer')
  const kept = two({ leftOut: [], keptOut: ['web2'] })
  assert.equal(obstacle(kept, plan(kept, observed))?.code, 'environment.last_serving')
  // Who is out by dploy's own doing, or down, may come up with the release.
  assert.equal(obstacle(two({ leftOut: [] }), plan(two({ leftOut: [] }), observed)), null)
  for (const strategy of [
    { ...desired().strategy, downtime: 'allowed' as const },
    { ...desired().strategy, kind: 'all-at-once' as const },
    { ...desired().strategy, batch: 2 },
  ])
    assert.equal(obstacle(two({ strategy }), plan(two({ strategy }), observed)), null)
  const one = desired({ servers: names(1) })
  assert.equal(obstacle(one, plan(one, all(names(1), seen('serving')))), null, 'there is no other')
})
