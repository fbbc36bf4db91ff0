import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test, type TestContext } from 'node:test'
import { DployError } from '../protocol/errors.ts'
import { Journal } from './journal.ts'

function place(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'dploy-journal-'))
  context.after(() => rmSync(directory, { recursive: true }))
  return directory
}

const shop = 'shop/production'

test('what was done is known again after a restart, what failed and what was cut off too', (context) => {
  const directory = place(context)
  const failure = new DployError('service.unhealthy', 'It does not answer', { where: 'web1' }).toJSON()
  {
    using journal = new Journal(directory)
    assert.deepEqual(journal.begin('a', 'stage', shop), { state: 'new' })
    journal.end('a', { bytes: 3 })
    journal.begin('c', 'activate', shop)
    journal.fail('c', failure)
    assert.equal(journal.claim('d', 'exec'), true)
    journal.begin('b', 'activate', shop)
    journal.raiseEpoch('shop', 'production', 7)
    journal.raiseEpoch('shop', 'production', 5)
  }
  using journal = new Journal(directory)
  assert.deepEqual(journal.begin('a', 'stage', shop), { state: 'done', result: { bytes: 3 } })
  assert.deepEqual(journal.begin('b', 'activate', shop), { state: 'interrupted' })
  assert.deepEqual(journal.begin('c', 'activate', shop), { state: 'failed', failure })
  assert.equal(journal.claim('d', 'exec'), false)
  assert.equal(journal.epoch('shop', 'production'), 7)
  assert.equal(journal.epoch('shop', 'staging'), 0)
})

test('what was cut off is not begun again once something else was begun in its place', (context) => {
  using journal = new Journal(place(context))
  journal.begin('a', 'activate', shop)
  journal.begin('b', 'activate', 'shop/staging')
  journal.claim('c', 'exec')
  assert.deepEqual(journal.begin('a', 'activate', shop), { state: 'interrupted' })
  journal.begin('d', 'activate', shop)
  assert.deepEqual(journal.begin('a', 'activate', shop), { state: 'superseded' })
})

test('the journal of an agent before this one is taken over, and that agent can come back', (context) => {
  const directory = place(context)
  mkdirSync(directory, { recursive: true })
  const former = () => {
    const database = new DatabaseSync(join(directory, 'journal.db'))
    database.exec(
      'CREATE TABLE IF NOT EXISTS commands (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, method TEXT NOT NULL, result TEXT)',
    )
    return { database, [Symbol.dispose]: () => database.close() }
  }
  {
    using before = former()
    before.database.exec(
      `INSERT INTO commands (id, method, result) VALUES ('a', 'stage', '{"bytes":3}'), ('b', 'activate', null)`,
    )
  }
  {
    using journal = new Journal(directory)
    assert.deepEqual(journal.begin('a', 'stage', shop), { state: 'done', result: { bytes: 3 } })
    assert.deepEqual(journal.begin('b', 'activate', shop), { state: 'interrupted' })
  }
  {
    using again = former()
    again.database.prepare('INSERT INTO commands (id, method) VALUES (?, ?)').run('c', 'activate')
  }
  using journal = new Journal(directory)
  assert.deepEqual(journal.begin('c', 'activate', shop), { state: 'interrupted' })
})

test('agents that begin and end at the same moment on one server do not keep each other from it', async (context) => {
  const directory = place(context)
  const agent = `import { Journal } from ${JSON.stringify(new URL('journal.ts', import.meta.url).href)}
    for (const id of ['a', 'b', 'c', 'd', 'e']) {
      using journal = new Journal(process.argv[1])
      journal.claim(process.pid + id, 'exec')
    }`
  for (let round = 0; round < 5; round++) {
    const agents = Array.from({ length: 6 }, () =>
      spawn(process.execPath, ['--input-type=module', '--eval', agent, directory], {
        stdio: ['ignore', 'ignore', 'inherit'],
      }),
    )
    assert.deepEqual(
      await Promise.all(agents.map(async (child) => (await once(child, 'exit'))[0] as number)),
      [0, 0, 0, 0, 0, 0],
    )
  }
})
