import assert from 'node:assert/strict'
import { test } from 'node:test'
import { statesOf, weightsFor, type Weighted } from './weights.ts'

const servers = (...initial: number[]): Weighted[] =>
  initial.map((weight, index) => ({ name: `web${index + 1}`, initial: weight, takes: true }))
/** What the chosen servers get by their weights. */
const shareOf = (all: readonly Weighted[], weights: ReadonlyMap<string, number>, chosen: readonly string[]) => {
  const of = (side: readonly Weighted[]) =>
    side
      .filter(({ takes, name }) => takes || chosen.includes(name))
      .reduce((sum, { name, initial }) => sum + (weights.get(name) ?? initial), 0)
  return of(all.filter(({ name }) => chosen.includes(name))) / of(all)
}

for (const [share, initial, chosen] of [
  [0.05, [1, 1, 1, 1], ['web1']],
  [0.01, [1, 1], ['web2']],
  [0.5, [1, 1, 1, 1], ['web1']],
  [0.9, [1, 1, 1, 1], ['web1', 'web2']],
  [0.1, [100, 100, 50, 200], ['web3']],
  [0.05, Array.from({ length: 40 }, () => 1), ['web1', 'web2']],
] as const) {
  test(`${share * 100} % for ${chosen.join(' and ')} of ${initial.length} servers, in whole weights of at most 256`, () => {
    const all = servers(...initial)
    const weights = weightsFor(all, { servers: chosen, share })
    assert.ok([...weights.values()].every((weight) => Number.isInteger(weight) && weight >= 1 && weight <= 256))
    const got = shareOf(all, weights, chosen)
    // Half a weight of the largest is what rounding may cost.
    assert.ok(Math.abs(got - share) <= share * 0.05 + 0.5 / 256, `${got}`)
  })
}

test('proportions of haproxy.cfg stay on both sides, and what has no weight there gets none', () => {
  const weights = weightsFor(servers(10, 20, 10, 20, 0), { servers: ['web1', 'web2'], share: 0.25 })
  assert.ok(Math.abs(weights.get('web2')! / weights.get('web1')! - 2) < 0.1)
  assert.equal(weights.get('web4'), weights.get('web3')! * 2)
  assert.equal(weights.has('web5'), false)
})

test('who is out of traffic takes no part of the rest', () => {
  const all = servers(1, 1, 1).map((server) => ({ ...server, takes: server.name !== 'web3' }))
  const weights = weightsFor(all, { servers: ['web1'], share: 0.2 })
  assert.ok(Math.abs(shareOf(all, weights, ['web1']) - 0.2) < 0.01)
})

test('where nobody else takes anything there is nothing to split', () => {
  assert.deepEqual(weightsFor(servers(1, 1), { servers: ['web1', 'web2'], share: 0.1 }), new Map())
  assert.deepEqual(weightsFor([], { servers: ['web1'], share: 0.1 }), new Map())
})

test('the state of servers is read by the names of its columns', () => {
  const answer =
    '1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight\n3 web 1 web1 127.0.0.1 2 0 13 1\n3 web 2 web2 127.0.0.1 2 1 256 1\n\n'
  assert.deepEqual(statesOf(answer), [
    { backend: 'web', name: 'web1', weight: 13, initial: 1, takes: true },
    { backend: 'web', name: 'web2', weight: 256, initial: 1, takes: false },
  ])
})
