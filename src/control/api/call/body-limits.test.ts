import assert from 'node:assert/strict'
import { test } from 'node:test'
import { routes, type RouteName } from '../../../protocol/api/contract.ts'
import type { Route } from '../../../protocol/api/route.ts'
import { bodyLimitOf, isTooDeep } from './body-limits.ts'

test('who is not known sends a few kilobytes, but for what a service signs', () => {
  for (const [name, route] of Object.entries(routes) as [RouteName, Route][])
    if (route.access === 'open' && route.stream !== 'bytes') assert.ok(bodyLimitOf(name, route) <= 16 * 1024, name)
  assert.ok(bodyLimitOf('apply', routes.apply) <= 4 * 1024 * 1024)
})

test('nesting is counted outside of strings alone, and found before the end is read', () => {
  assert.equal(isTooDeep('{"a":[{"b":[]}]}', 4), false)
  assert.equal(isTooDeep('{"a":[{"b":[]}]}', 3), true)
  assert.equal(isTooDeep(JSON.stringify({ text: '[[[[[[["\\' }), 2), false)
  assert.equal(isTooDeep('[]'.repeat(1_000), 1), false)
  const began = performance.now()
  assert.equal(isTooDeep('['.repeat(60_000_000), 64), true)
  assert.ok(performance.now() - began < 1_000)
})
