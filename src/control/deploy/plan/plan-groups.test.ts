import assert from 'node:assert/strict'
import { test } from 'node:test'
import { configSchema } from '../../../protocol/config/config.ts'
import { isIdle, liveGroupOf } from '../strategies/groups.ts'
import { obstacle, plan, type Desired, type ObservedServer } from './plan.ts'

const config = (
  strategy: object,
  tags: Record<string, string>[] = [{ colour: 'blue' }, { colour: 'blue' }, { colour: 'green' }, { colour: 'green' }],
) =>
  configSchema.parse({
    application: 'shop',
    environments: {
      production: { servers: tags.map((one, index) => ({ name: `web${index + 1}`, tags: one })), strategy },
    },
  }).environments['production']!
const groups = { kind: 'blue-green', groups: ['colour=blue', 'colour=green'] }

const desired = (changes: Partial<Desired> = {}, environment = config(groups)): Desired => ({
  kind: 'deploy',
  application: 'shop',
  environment: 'production',
  release: 3,
  from: 2,
  servers: environment.servers.map(({ name }) => name),
  tags: new Map(environment.servers.map(({ name, tags }) => [name, tags])),
  strategy: environment.strategy,
  live: 'colour=blue',
  releaseCommand: 'bin/migrate',
  drains: true,
  hasService: true,
  ...changes,
})
const seen = (...current: (number | null | 'gone')[]) =>
  new Map<string, ObservedServer | null>(
    current.map((number, index) => [
      `web${index + 1}`,
      number === 'gone'
        ? null
        : {
            current: number,
            releases: [1, 2].filter((one) => number !== null && one <= number),
            running: number !== null,
          },
    ]),
  )

test('the release goes to the group that does not serve, out of traffic, and then all traffic goes there', () => {
  const value = plan(desired(), seen(2, 2, 1, 1))
  assert.deepEqual(value.batches, [['web3', 'web4']])
  assert.deepEqual(value.groups, {
    live: 'colour=blue',
    next: 'colour=green',
    enter: ['web3', 'web4'],
    leave: ['web1', 'web2'],
  })
  assert.deepEqual(value.perServer, ['drain', 'activate'])
  assert.deepEqual(value.releaseCommand, { server: 'web3', command: 'bin/migrate' })
  assert.deepEqual(
    [value.unchanged, value.unreachable, value.gates, value.warnings, value.canary, value.bake],
    [[], [], [], [], null, 2_000],
  )
  assert.equal(obstacle(desired(), value), null)
})

test('the next one comes back to the first group', () => {
  assert.deepEqual(plan(desired({ live: 'colour=green' }), seen(1, 1, 2, 2)).groups, {
    live: 'colour=green',
    next: 'colour=blue',
    enter: ['web1', 'web2'],
    leave: ['web3', 'web4'],
  })
})

test('a rollback to what the other group still runs stages and activates nothing', () => {
  const value = plan(desired({ kind: 'rollback', release: 1, from: 2 }), seen(2, 2, 1, 1))
  assert.deepEqual(
    [value.stage, value.batches, value.unchanged, value.releaseCommand],
    [[], [], ['web3', 'web4'], null],
  )
  assert.equal(value.groups!.next, 'colour=green')
})

test('of a group that runs it in part, the rest is activated', () => {
  const value = plan(
    desired({ kind: 'rollback', release: 1, from: 2 }),
    new Map([...seen(2, 2, 1, 1)]).set('web4', { current: 1, releases: [1], running: false }),
  )
  assert.deepEqual([value.batches, value.unchanged, value.groups!.enter], [[['web4']], ['web3'], ['web3', 'web4']])
})

test('what serves already stays where it is', () => {
  const value = plan(desired({ release: 2 }), seen(2, 2, 1, 1))
  assert.deepEqual(value.groups, {
    live: 'colour=blue',
    next: 'colour=blue',
    enter: ['web1', 'web2'],
    leave: ['web3', 'web4'],
  })
  assert.deepEqual([value.batches, value.unchanged], [[], ['web1', 'web2']])
})

test('at the very first the first group serves; where all serve until now, the second one gets the release', () => {
  assert.deepEqual(plan(desired({ live: null, from: null, release: 1 }), seen(null, null, null, null)).groups, {
    live: null,
    next: 'colour=blue',
    enter: ['web1', 'web2'],
    leave: ['web3', 'web4'],
  })
  assert.deepEqual(plan(desired({ live: null }), seen(2, 2, 2, 2)).groups, {
    live: null,
    next: 'colour=green',
    enter: ['web3', 'web4'],
    leave: ['web1', 'web2'],
  })
  assert.equal(
    plan(desired({ live: 'colour=red' }), seen(2, 2, 2, 2)).groups!.next,
    'colour=green',
    'a group that dploy.yml no longer names',
  )
})

test("a server of the other group that cannot be reached is left out; one of the group that serves is nobody's concern", () => {
  const value = plan(desired(), seen('gone', 2, 'gone', 1))
  assert.deepEqual(
    [value.unreachable, value.batches, value.groups!.enter, value.groups!.leave],
    [['web3'], [['web4']], ['web4'], ['web1', 'web2']],
  )
})

test('a person may look at the other group before it gets the traffic, and nobody waits on the way back', () => {
  const environment = config({ ...groups, pause: 'after_group', bake_group: '5s' })
  assert.deepEqual(plan(desired({}, environment), seen(2, 2, 1, 1)).gates, [
    { before: 1, after: 'group', bake: 5_000, person: true },
  ])
  assert.deepEqual(plan(desired({ kind: 'rollback', release: 1 }, environment), seen(2, 2, 1, 1)).gates, [])
})

test('a smaller group is warned about', () => {
  const environment = config(groups, [{ colour: 'blue' }, { colour: 'blue' }, { colour: 'green' }])
  assert.match(
    plan(desired({}, environment), seen(2, 2, 1)).warnings[0]!,
    /colour=green has 1 servers and colour=blue has 2/,
  )
})

test('servers in no group or in both, an empty group and no balancer are refused', () => {
  const refusal = (tags: Record<string, string>[], changes: Partial<Desired> = {}) => {
    const wanted = desired(changes, config({ kind: 'blue-green', groups: ['colour=blue', 'side=b'] }, tags))
    return obstacle(wanted, plan(wanted, seen(...tags.map(() => 2))))?.message
  }
  assert.match(refusal([{ colour: 'blue' }, { side: 'b' }, {}])!, /web3 is not, or in both/)
  assert.match(refusal([{ colour: 'blue' }, { colour: 'blue', side: 'b' }])!, /web2 is not, or in both/)
  assert.match(refusal([{ colour: 'blue' }])!, /No server is in the group side=b/)
  assert.match(refusal([{ colour: 'blue' }, { side: 'b' }], { drains: false })!, /needs a balancer/)
  assert.equal(refusal([{ colour: 'blue' }, { side: 'b' }]), undefined)
})

test('servers that converge are those of the group that serves, and go one batch after the other', () => {
  const value = plan(desired({ kind: 'converge', servers: ['web1'], release: 2 }), seen(1))
  assert.deepEqual(
    [value.batches, value.groups, value.perServer],
    [[['web1']], undefined, ['drain', 'activate', 'register']],
  )
})

test('who is idle follows from the group that serves, and from nothing else', () => {
  const environment = config(groups)
  const idle = (stored: string | null, of = environment) =>
    environment.servers.filter((server) => isIdle(server, of, stored)).map(({ name }) => name)
  assert.deepEqual(idle('colour=blue'), ['web3', 'web4'])
  assert.deepEqual(idle('colour=green'), ['web1', 'web2'])
  assert.deepEqual(idle(null), [])
  assert.deepEqual(idle('colour=blue', config({ kind: 'rolling' })), [], 'dploy.yml says rolling now')
  assert.deepEqual(idle('colour=red'), [])
  assert.equal(liveGroupOf(environment, 'colour=red'), null)
})

test('dploy.yml has to name two different groups', () => {
  assert.throws(() => config({ kind: 'blue-green' }), /needs the key/)
  assert.throws(() => config({ kind: 'blue-green', groups: ['a=b', 'a=b'] }), /same group twice/)
  assert.throws(() => config({ kind: 'blue-green', groups: ['blue', 'green'] }), /a tag as name=value/)
})
