import assert from 'node:assert/strict'
import { test } from 'node:test'
import { barsOf, shownDays } from './day-bars.ts'

test('the bars of the last days: today is the last, a quiet day is a line, the bad part is its share', () => {
  const bars = barsOf(
    [
      { day: 100, all: 8, bad: 2 },
      { day: 98, all: 1, bad: 0 },
      { day: 10, all: 50, bad: 50 },
    ],
    100,
    28,
  )
  assert.equal(bars.length, shownDays)
  assert.deepEqual(bars.at(-2), { all: 1, bad: 0 })
  assert.ok(bars.at(-1)!.all > bars.at(-3)!.all && bars.at(-3)!.all >= 3)
  assert.ok(Math.abs(bars.at(-1)!.bad / bars.at(-1)!.all - 0.25) < 1e-9)
})

test('a single deployment does not fill the height', () =>
  assert.equal(barsOf([{ day: 5, all: 1, bad: 1 }], 5, 28).at(-1)!.all, 7))
