import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { recorded, replay, replayInOrder, type Recorded } from './recorded.ts'
import { seeded } from './simulation.ts'

describe('traffic that HAProxy logged, judged as a canary', () => {
  const servers = recorded()
  const of = (...names: string[]) => names.flatMap((name) => servers.get(name)!)
  const others = of('web2', 'web3', 'web4')
  const runs = 150
  const stopped = (fresh: readonly Recorded[], requests: number, times: boolean) => {
    const random = seeded(31)
    let count = 0
    for (let run = 0; run < runs; run++)
      if (replay(fresh, others, { requests, looks: 12, times }, random).outcome === 'fail') count++
    return count / runs
  }

  test('the recording has what it says', () => {
    const failing = (some: readonly Recorded[]) => some.filter(({ failed }) => failed).length / some.length
    assert.deepEqual([...servers.keys()].toSorted(), ['web1', 'web2', 'web3', 'web4'])
    for (const [name, requests] of servers) assert.ok(requests.length > 2_000, `${name}: ${requests.length}`)
    assert.ok(Math.abs(failing(of('web1')) - 0.01) < 0.0005, `${failing(of('web1'))}`)
    assert.ok(Math.abs(failing(others) - 0.001) < 0.0003, `${failing(others)}`)
  })

  test('as it came: web1 is stopped, by its failures alone and by its answer times; each of the others goes on', () => {
    assert.match(replayInOrder(of('web1'), others, { every: 5_000, times: false }).reason, /requests failed/)
    assert.equal(replayInOrder(of('web1'), others, { every: 5_000, times: false }).outcome, 'fail')
    const quick = of('web1').map((one) => ({ ...one, failed: false }))
    assert.equal(replayInOrder(quick, others, { every: 5_000, times: true }).outcome, 'fail')
    for (const name of ['web2', 'web3', 'web4']) {
      const rest = of(...['web2', 'web3', 'web4'].filter((one) => one !== name))
      assert.equal(replayInOrder(of(name), rest, { every: 5_000, times: true }).outcome, 'pass', name)
    }
  })

  test('requests of the servers that are alike stop fewer than 2 % as a new release', () => {
    const share = stopped(others, 1_500, true)
    assert.ok(share < 0.02, `${share * 100} %`)
  })

  test('web1 is found by its failures alone, and by its answer times with a tenth of the requests', () => {
    const byFailures = stopped(of('web1'), 1_500, false)
    assert.ok(byFailures >= 0.9, `${byFailures * 100} %`)
    const byTimes = stopped(
      of('web1').map((one) => ({ ...one, failed: false })),
      150,
      true,
    )
    assert.ok(byTimes >= 0.9, `${byTimes * 100} %`)
  })
})
