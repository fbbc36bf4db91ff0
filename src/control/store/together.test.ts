import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openSqlite } from './sqlite.ts'
import { migrate } from './migrate.ts'
import { Together } from './together.ts'

test('small writes of the same moment are one transaction, and each succeeds or fails for itself', async () => {
  const db = openSqlite(':memory:')
  await migrate(db)
  const together = new Together(db)
  const add = (name: string) =>
    together.write((trx) =>
      trx
        .insertInto('servers')
        .values({ id: `srv_${name}`, name, public_key: null, facts: null, last_seen_at: null, created_at: 0 })
        .execute(),
    )
  await Promise.all(['one', 'two', 'three'].map(add))
  const count = async () => (await db.selectFrom('servers').select('name').execute()).length
  assert.equal(await count(), 3)
  const [again, four] = await Promise.allSettled([add('one'), add('four')])
  assert.deepEqual([again.status, four.status], ['rejected', 'fulfilled'])
  assert.equal(await count(), 4)
  void add('five')
  await together.settled()
  assert.equal(await count(), 5)
  await db.destroy()
})
