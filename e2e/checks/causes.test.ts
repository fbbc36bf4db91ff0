import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { causeIds } from '../../src/protocol/causes.ts'

const headings = [
  ...readFileSync(join(import.meta.dirname, '../../docs/causes.md'), 'utf8').matchAll(/^### `(.+)`$/gm),
].map(([, heading]) => heading!)

test('docs/causes.md explains every cause that a receipt names, once, and no other', () => {
  assert.deepEqual(headings.toSorted(), causeIds.toSorted())
})
