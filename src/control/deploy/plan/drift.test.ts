import assert from 'node:assert/strict'
import { test } from 'node:test'
import { driftOf } from './drift.ts'

test('a server drifts by its release, its service, or processes that are left of another release', () => {
  const cases: [string, Parameters<typeof driftOf>[0], number | null, ReturnType<typeof driftOf>][] = [
    ['as wanted', { release: 7, service: { state: 'running', release: 7 } }, 7, null],
    ['nothing is wanted', { release: 7, service: { state: 'stopped', release: null } }, null, null],
    ['another release', { release: 6, service: { state: 'running', release: 6 } }, 7, 'release'],
    ['no release', { release: null, service: null }, 7, 'release'],
    ['stopped', { release: 7, service: { state: 'stopped', release: null } }, 7, 'service'],
    ['failed', { release: 7, service: { state: 'failed', release: null } }, 7, 'service'],
    ['older processes', { release: 7, service: { state: 'running', release: 5 } }, 7, 'processes'],
    ['processes of which nobody knows', { release: 7, service: { state: 'running', release: null } }, 7, null],
    ['no service', { release: 7, service: { state: 'none', release: null } }, 7, null],
    ['nobody can say', { release: 7, service: { state: 'unknown', release: null } }, 7, null],
    ['not looked at', { release: 7, service: null }, 7, null],
  ]
  for (const [what, seen, wanted, drift] of cases) assert.equal(driftOf(seen, wanted), drift, what)
})
