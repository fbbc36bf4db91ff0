import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readinessOf } from './readiness.ts'

const contents: Record<string, Record<string, number>> = {
  one: { a: 100, b: 10 },
  two: { a: 100, c: 20 },
  three: { a: 100, c: 20, d: 3_000 },
}
const objects = (artifact: string) => (contents[artifact] ? new Map(Object.entries(contents[artifact])) : null)
const releases = [
  { number: 3, artifact: 'three' },
  { number: 2, artifact: 'two' },
  { number: 1, artifact: 'one' },
]
const kept = (...numbers: number[]) => releases.filter(({ number }) => numbers.includes(number))

test('a release is ready on the servers that keep it; of the others it is said what they lack', async () => {
  const servers = [
    { server: 'web1', kept: kept(3, 2, 1) },
    { server: 'web2', kept: kept(3, 2) },
    { server: 'web3', kept: kept(1) },
    { server: 'web4', kept: [] },
  ]
  assert.deepEqual(await readinessOf(releases, servers, objects), [
    {
      number: 3,
      ready: 2,
      lacking: [
        { server: 'web3', bytes: 3_020 },
        { server: 'web4', bytes: 3_120 },
      ],
      lackingServers: 2,
    },
    {
      number: 2,
      ready: 2,
      lacking: [
        { server: 'web3', bytes: 20 },
        { server: 'web4', bytes: 120 },
      ],
      lackingServers: 2,
    },
    {
      number: 1,
      ready: 2,
      lacking: [
        { server: 'web2', bytes: 10 },
        { server: 'web4', bytes: 110 },
      ],
      lackingServers: 2,
    },
  ])
})

test('a server that does not answer counts neither as ready nor as lacking', async () => {
  const [first] = await readinessOf(
    releases,
    [
      { server: 'web1', kept: null },
      { server: 'web2', kept: kept(3) },
    ],
    objects,
  )
  assert.deepEqual(first, { number: 3, ready: 1, lacking: [], lackingServers: 0 })
})

test('what an artifact that is forgotten consisted of is not known', async () => {
  assert.deepEqual(await readinessOf([{ number: 9, artifact: 'gone' }], [{ server: 'web1', kept: [] }], objects), [
    { number: 9, ready: 0, lacking: [{ server: 'web1', bytes: null }], lackingServers: 1 },
  ])
})

test('of a thousand servers some are named, all are counted, and each manifest is read once for those that are alike', async () => {
  let read = 0
  const servers = Array.from({ length: 1_000 }, (_, index) => ({ server: `web${index}`, kept: kept(3, 2) }))
  const found = await readinessOf(releases, servers, (artifact) => (read++, objects(artifact)))
  assert.deepEqual(
    found.map(({ ready, lackingServers, lacking }) => [ready, lackingServers, lacking.length]),
    [
      [1_000, 0, 0],
      [1_000, 0, 0],
      [0, 1_000, 20],
    ],
  )
  assert.ok(read <= 3, `${read} manifests were read`)
})

test('another release of the same number is not that release', async () => {
  const servers = [{ server: 'web1', kept: [{ number: 3, artifact: 'one' }] }]
  const [release] = await readinessOf([{ number: 3, artifact: 'three' }], servers, objects)
  assert.deepEqual([release!.ready, release!.lacking], [0, [{ server: 'web1', bytes: 3_020 }]])
})
