import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lackText, readinessOf, sendText } from './readiness.ts'

const lacking = (...bytes: (number | null)[]) => ({
  number: 3,
  ready: 2,
  lacking: bytes.map((one, index) => ({ server: `web${index + 3}`, bytes: one })),
  lackingServers: bytes.length,
})

test('what is missing where, in a few words', () => {
  assert.equal(lackText(lacking(38_400)), 'web3 lacks 38 KB')
  assert.equal(lackText(lacking(100, 38_400)), 'web3 and 1 more lack up to 38 KB')
  assert.equal(lackText(lacking(null)), 'web3 lacks files')
  assert.equal(lackText(lacking(0)), 'web3 lacks no file, only its tree')
})

test('before one goes to a release it is said what that sends', () => {
  assert.equal(sendText(lacking(), 3), 'All 2 servers keep release 3: nothing is sent.')
  assert.equal(
    sendText(lacking(38_400), 3),
    'web3 does not keep release 3, and is sent 38 KB first, before anything switches.',
  )
  assert.equal(
    sendText(lacking(1, 2), 3),
    '2 servers do not keep release 3, and are sent up to 2 B first, before anything switches.',
  )
  assert.match(sendText(null, 3), /the others get those they lack/)
})

test('of a release that nobody asked about nothing is known', () => {
  assert.equal(readinessOf(undefined, 3), null)
  assert.equal(readinessOf({ releases: [lacking()] }, 4), null)
})
