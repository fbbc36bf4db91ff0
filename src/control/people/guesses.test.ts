import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Guesses } from './guesses.ts'

test('an account waits twice as long after each failure, at most a minute, and is free again in time', () => {
  const guesses = new Guesses()
  let now = 0
  const waits: number[] = []
  for (let tries = 0; tries < 14; tries++) {
    const wait = guesses.wait('anna', '192.0.2.1', now)
    waits.push(wait)
    if (wait > 0) assert.throws(() => guesses.begin('anna', '192.0.2.1', now + wait - 1), { code: 'sign_in.too_many' })
    now += wait
    guesses.begin('anna', '192.0.2.1', now)
  }
  assert.deepEqual(waits, [0, 0, 0, 0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000])
  assert.equal(guesses.wait('anna', '198.51.100.1', now), 60_000, 'wherever they come from')
  assert.equal(guesses.wait('bert', '192.0.2.1', now), 0, 'others are not held up')
  assert.equal(guesses.wait('anna', '192.0.2.1', now + 3_600_000), 0)
  guesses.begin('anna', '192.0.2.1', now + 60_000).succeeded()
  assert.equal(guesses.wait('anna', '192.0.2.1', now + 60_001), 0, 'who knows the password begins anew')
})

test('an address waits whatever accounts it tries, and its own success gives it no free tries', () => {
  const guesses = new Guesses()
  for (let tries = 0; tries < 19; tries++) guesses.begin(`account ${tries}`, '2001:db8:1:2::1', 0)
  guesses.begin('mine', '2001:db8:1:2::1', 0).succeeded()
  assert.equal(guesses.wait('next', '2001:db8:1:2:ffff::9', 0), 0)
  guesses.begin('next', '2001:db8:1:2:ffff::9', 0)
  assert.equal(guesses.wait('another', '2001:db8:1:2:0:0:0:7', 0), 1_000, 'a whole /64 is one address')
  assert.equal(guesses.wait('another', '2001:db8:1:3::1', 0), 0)
  assert.equal(guesses.wait('another', '::ffff:192.0.2.1', 0), 0)
})
