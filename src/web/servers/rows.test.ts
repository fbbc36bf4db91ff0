import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ServerStatus } from '../../protocol/api/environments.ts'
import { groupsOf, matches, rowsOf, stateOf, statesOf, tagNamesOf } from './rows.ts'

const running: NonNullable<ServerStatus['service']> = { state: 'running', release: 3, since: 1, pids: [1], restarts: 0 }
const server = (name: string, more: Partial<ServerStatus> = {}): ServerStatus => ({
  name,
  tags: {},
  connected: true,
  lastSeenAt: 1,
  observedAt: 1,
  release: 3,
  service: running,
  drifted: false,
  idle: false,
  traffic: { admission: 'ready', up: true, inFlight: 0 },
  problem: null,
  ...more,
})
const ill = new Map([['web2', { name: 'web2', healthy: false, detail: 'GET /health: 500' }]])

test('what needs somebody is told before what does not', () => {
  assert.equal(stateOf(server('web1')).text, 'serves')
  assert.equal(stateOf(server('web1', { connected: false, service: null })).text, 'not connected')
  assert.equal(stateOf({ ...server('web1', { drifted: true }), health: ill.get('web2')! }).text, 'not healthy')
  assert.equal(
    stateOf(server('web1', { drifted: true, traffic: { admission: 'out', up: true, inFlight: 0 } })).text,
    'drifted',
  )
  assert.equal(
    stateOf(server('web1', { traffic: { admission: 'ready', up: false, inFlight: 0 } })).text,
    'down for the balancer',
  )
  const rows = rowsOf(
    [server('web1'), server('web2'), server('web3'), server('web4', { drifted: true })],
    ill,
    undefined,
  )
  assert.deepEqual(statesOf(rows), [
    { tone: 'bad', text: 'not healthy', count: 1 },
    { tone: 'warn', text: 'drifted', count: 1 },
    { tone: 'good', text: 'serves', count: 2 },
  ])
})

test('servers are grouped by a tag, as people count, and those without it come last', () => {
  const rows = rowsOf(
    [
      server('web10', { tags: { role: 'web' } }),
      server('bare'),
      server('web9', { tags: { role: 'web', zone: 'b' } }),
      server('job1', { tags: { role: 'jobs' } }),
    ],
    undefined,
    undefined,
  )
  assert.deepEqual(tagNamesOf(rows), ['role', 'zone'])
  assert.deepEqual(
    groupsOf(rows, 'role').map(({ title, servers }) => [title, servers.map(({ name }) => name)]),
    [
      ['role=jobs', ['job1']],
      ['role=web', ['web9', 'web10']],
      ['without role', ['bare']],
    ],
  )
  assert.deepEqual(
    groupsOf(rows, '').map(({ servers }) => servers.map(({ name }) => name)),
    [['bare', 'job1', 'web9', 'web10']],
  )
})

test('they are found by name and by tag', () => {
  assert.ok(matches(server('web1', { tags: { role: 'Web' } }), ' ROLE=w'))
  assert.ok(matches(server('web1'), 'EB1') && !matches(server('web1'), 'web2'))
})
