import assert from 'node:assert/strict'
import { test } from 'node:test'
import { destinationArguments, readDestination } from './destination.ts'

test('an address becomes the arguments of ssh, and what it leaves open stays open', () => {
  const args = (address: string) => destinationArguments(readDestination(address))
  assert.deepEqual(args('web1'), ['--', 'web1'])
  assert.deepEqual(args('deploy@10.0.0.5:2222'), ['-l', 'deploy', '-p', '2222', '--', '10.0.0.5'])
  assert.deepEqual(args('a@b@host'), ['-l', 'a@b', '--', 'host'])
  assert.deepEqual(args('2001:db8::1'), ['--', '2001:db8::1'])
  assert.deepEqual(args('root@[2001:db8::1]:22'), ['-l', 'root', '-p', '22', '--', '2001:db8::1'])
})
