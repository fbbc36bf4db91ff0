import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ServerStatus, Status } from '../../../protocol/api/environments.ts'
import { healthOf } from './overview.ts'

const well: ServerStatus = {
  name: 'web1',
  tags: {},
  connected: true,
  lastSeenAt: 1,
  observedAt: 1,
  release: 2,
  service: { state: 'running', release: 2, pid: 1, since: 1 } as never,
  drifted: false,
  idle: false,
  traffic: { admission: 'ready', up: true, inFlight: 0 },
  problem: null,
}
const of = (...servers: Partial<ServerStatus>[]) =>
  healthOf({
    wanted: { release: 2 },
    balancerProblem: null,
    servers: servers.map((one) => ({ ...well, ...one })),
  } as Status)
const counts = { servers: 1, absent: 0, sick: 0, drifted: 0, astray: [], out: 0, unknown: 0, balancer: true }

test('nothing that is taken away leaves a server well', () => {
  assert.deepEqual(of({}), counts)
  assert.deepEqual(of({ connected: false }), { ...counts, absent: 1 })
  assert.deepEqual(of({ problem: { code: 'internal', message: '', fix: '' } }), { ...counts, sick: 1 })
  assert.deepEqual(of({ service: null }), { ...counts, unknown: 1 })
  assert.deepEqual(of({ traffic: { admission: 'out', up: true, inFlight: 0 } }), { ...counts, out: 1 })
  assert.deepEqual(of({ drifted: true, release: 1 }), { ...counts, drifted: 1, astray: [{ name: 'web1', release: 1 }] })
  assert.equal(
    healthOf({ wanted: null, balancerProblem: { code: 'internal', message: '', fix: '' }, servers: [] } as never)
      .balancer,
    false,
  )
})

test('the group that does not serve is out of traffic on purpose', () => {
  assert.deepEqual(of({ idle: true, traffic: { admission: 'out', up: true, inFlight: 0 } }), counts)
})
