import assert from 'node:assert/strict'
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { testsThatReach } from '../host/changed.ts'

const top = join(import.meta.dirname, '../..')
const tests = globSync('{src,e2e,bench}/**/*.test.ts', { cwd: top })

test('a change runs the tests that reach it by their imports', () => {
  const of = (file: string) => testsThatReach([file], tests, top)
  assert.ok(of('src/protocol/frame.ts').includes('src/protocol/frame.test.ts'), 'directly')
  assert.ok(of('src/protocol/duration.ts').includes('src/protocol/config/text.test.ts'), 'through other files')
  assert.ok(of('docs/dploy.example.yml').includes('src/protocol/config/lines.test.ts'), 'a file that it reads')
  assert.deepEqual(of('src/protocol/frame.test.ts'), ['src/protocol/frame.test.ts'], 'a test itself, and no other')
  assert.deepEqual(of('LICENSE'), [])
})
