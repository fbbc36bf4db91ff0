import assert from 'node:assert/strict'
import { test } from 'node:test'
import { merged } from './merged.ts'

test('what was seen stays in its place while new ones come, each once, as it was seen last', () => {
  const seen = merged(
    [
      { number: 3, state: 'runs' },
      { number: 2, state: 'over' },
    ],
    [
      { number: 4, state: 'runs' },
      { number: 3, state: 'over' },
    ],
  )
  assert.deepEqual(seen, [
    { number: 4, state: 'runs' },
    { number: 3, state: 'over' },
    { number: 2, state: 'over' },
  ])
  assert.deepEqual(
    merged(seen, [{ number: 1, state: 'over' }]).map(({ number }) => number),
    [4, 3, 2, 1],
  )
})
