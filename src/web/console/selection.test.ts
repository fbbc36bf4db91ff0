import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chosenServers, optionsOf } from './selection.ts'

const all = [
  { name: 'web1', tags: { role: 'web', zone: 'a' } },
  { name: 'web2', tags: { role: 'web', zone: 'b' } },
  { name: 'db1', tags: { role: 'db', zone: 'a' } },
]

test('tags of different names have to fit all, values of one tag any, and named servers join them', () => {
  assert.deepEqual(chosenServers(all, { tags: [], servers: [] }), ['web1', 'web2', 'db1'])
  assert.deepEqual(chosenServers(all, { tags: ['role=web', 'zone=a'], servers: [] }), ['web1'])
  assert.deepEqual(chosenServers(all, { tags: ['zone=a', 'zone=b'], servers: [] }), ['web1', 'web2', 'db1'])
  assert.deepEqual(chosenServers(all, { tags: ['role=db'], servers: ['web2'] }), ['web2', 'db1'])
  assert.deepEqual(chosenServers(all, { tags: [], servers: ['web2', 'db1'] }), ['web2', 'db1'])
})

test('the command line says the same', () => {
  assert.equal(optionsOf(all, { tags: [], servers: [] }), '')
  assert.equal(optionsOf(all, { tags: ['role=web', 'zone=a'], servers: [] }), ' --tag role=web --tag zone=a')
  assert.equal(optionsOf(all, { tags: ['zone=a', 'zone=b'], servers: [] }), ' --on web1 --on web2 --on db1')
  assert.equal(optionsOf(all, { tags: [], servers: ['web2'] }), ' --on web2')
})
