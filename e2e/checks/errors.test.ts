import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { errorTable } from '../../src/protocol/errors.ts'

const codes = Object.keys(errorTable)
const headings = [
  ...readFileSync(join(import.meta.dirname, '../../docs/errors.md'), 'utf8').matchAll(/^### (.+)$/gm),
].map(([, heading]) => heading!)

test('docs/errors.md explains every error', () => {
  const missing = codes.filter((code) => !headings.includes(`\`${code}\``))
  assert.deepEqual(missing, [], 'give each a heading of the form ### `code`, what it means, and what to do')
})

test('docs/errors.md explains no error that does not exist', () => {
  const unknown = headings.filter((heading) => !codes.some((code) => heading === `\`${code}\``))
  assert.deepEqual(unknown, [], 'src/protocol/errors.ts has no such code')
  assert.equal(new Set(headings).size, headings.length, 'a code is explained twice')
})
