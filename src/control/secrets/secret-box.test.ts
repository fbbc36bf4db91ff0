import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { SecretBox } from './secret-box.ts'

test('a value opens with its key and name alone, and looks different each time', (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'dploy-box-'))
  context.after(() => rmSync(directory, { recursive: true, force: true }))
  const box = SecretBox.open(directory)
  const sealed = box.seal('geheim ✓', 'sec_1')
  assert.ok(!Buffer.from(sealed, 'base64').includes('geheim'))
  assert.notEqual(box.seal('geheim ✓', 'sec_1'), sealed)
  assert.equal(SecretBox.open(directory).unseal(sealed, 'sec_1'), 'geheim ✓')
  assert.equal(statSync(join(directory, 'secret-key')).mode & 0o777, 0o600)
  assert.throws(() => box.unseal(sealed, 'sec_2'), { code: 'secret.unreadable' })
  assert.throws(() => SecretBox.withKey().unseal(sealed, 'sec_1'), { code: 'secret.unreadable' })
  const bytes = Buffer.from(sealed, 'base64')
  for (const at of [0, 12, bytes.length - 1]) {
    const changed = Buffer.from(bytes)
    changed[at]! ^= 1
    assert.throws(() => box.unseal(changed.toString('base64'), 'sec_1'), { code: 'secret.unreadable' })
  }
  assert.throws(() => box.unseal('', 'sec_1'), { code: 'secret.unreadable' })
})

test('a key of the wrong size is told, and not replaced', (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'dploy-box-'))
  context.after(() => rmSync(directory, { recursive: true, force: true }))
  writeFileSync(join(directory, 'secret-key'), 'short')
  assert.throws(() => SecretBox.open(directory), { code: 'secret.unreadable' })
  assert.equal(statSync(join(directory, 'secret-key')).size, 5)
})
