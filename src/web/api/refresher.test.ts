import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Refresher } from './refresher.ts'

test('the first change is asked for at once, those that follow together, and the last is never left out', async () => {
  let world = 0
  const seen: number[] = []
  const refresher = new Refresher(async () => {
    const now = world
    await delay(20)
    seen.push(now)
  })
  for (world = 1; world <= 50; world++) {
    refresher.changed(['deployments'])
    await delay(10)
  }
  world = 51
  refresher.changed(['deployments'])
  await delay(600)
  assert.equal(seen[0], 1)
  assert.equal(seen.at(-1), 51)
  assert.ok(seen.length <= 8, `asked ${seen.length} times`)
})

test('what is asked for is told apart by its key', async () => {
  const asked: string[] = []
  const refresher = new Refresher(async (key) => void asked.push(JSON.stringify(key)))
  refresher.changed(['status', 'shop', 'production'])
  refresher.changed(['status', 'blog', 'production'])
  refresher.changed(['status', 'shop', 'production'])
  await delay(10)
  assert.deepEqual(asked, ['["status","shop","production"]', '["status","blog","production"]'])
})
