import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cutText } from './cut-text.ts'

test('a text is cut where it is too long, also in the middle of a character', () => {
  assert.equal(cutText('short', 5), 'short')
  assert.equal(cutText('longer', 5), 'longe…')
  assert.equal(cutText('grün', 3), 'grü…')
  assert.equal(cutText('ab😀', 3), 'ab\uFFFD…')
})

test('what was cut off is not kept in memory', () => {
  const before = process.memoryUsage().rss
  // As it comes: each from bytes of its own.
  const kept = Array.from({ length: 300 }, (_, index) =>
    cutText(JSON.parse(`"${index}${'x'.repeat(2_000_000)}"`) as string, 1_000),
  )
  assert.equal(kept.length, 300)
  assert.ok(process.memoryUsage().rss - before < 300_000_000, `${process.memoryUsage().rss - before} bytes`)
})
