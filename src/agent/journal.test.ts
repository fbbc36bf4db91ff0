import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Journal } from './journal.ts'

test('what was done is known again after a restart, what was cut off too', (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'dploy-journal-'))
  context.after(() => rmSync(directory, { recursive: true }))
  {
    using journal = new Journal(directory)
    assert.deepEqual(journal.begin('a', 'stage'), { state: 'new' })
    assert.equal(journal.isRunning('a'), true)
    journal.end('a', { bytes: 3 })
    journal.begin('b', 'activate')
    journal.begin('c', 'activate')
    journal.forget('c')
    journal.raiseEpoch('shop', 'production', 7)
    journal.raiseEpoch('shop', 'production', 5)
  }
  using journal = new Journal(directory)
  assert.deepEqual(journal.begin('a', 'stage'), { state: 'done', result: { bytes: 3 } })
  assert.deepEqual(journal.begin('b', 'activate'), { state: 'interrupted' })
  assert.deepEqual(journal.begin('c', 'activate'), { state: 'new' })
  assert.equal(journal.epoch('shop', 'production'), 7)
  assert.equal(journal.epoch('shop', 'staging'), 0)
})
