import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SecretBox } from '../secrets/secret-box.ts'
import { openSqlite } from './sqlite.ts'
import { openStore } from './store.ts'

const [minute, hour] = [60_000, 3_600_000]
const from = { address: '192.0.2.1', browser: 'a test' }

async function withPerson() {
  const store = await openStore(openSqlite(':memory:'), SecretBox.withKey())
  const person = await store.people.add({ email: 'Anna@Example.org', name: 'Anna', grants: [] }, 0)
  return { store, person, use: (value: string, now: number) => store.sessions.use(value, '192.0.2.1', now) }
}

test('a session ends after a day without use, and after a week of use', async () => {
  const { store, person, use } = await withPerson()
  await using _ = store
  let { value } = await store.sessions.begin(person, from, 0)
  assert.equal(await use(value, 24 * hour), null)
  ;({ value } = await store.sessions.begin(person, from, 0))
  let last = 0
  for (let now = 0; now < 8 * 24 * hour; now += 12 * hour) {
    const used = await use(value, now)
    if (!used) break
    value = used.rotated ?? value
    last = now
  }
  assert.equal(last, 6.5 * 24 * hour)
})

test('its value changes; the one before serves requests under way, and no longer', async () => {
  const { store, person, use } = await withPerson()
  await using _ = store
  const { value: first } = await store.sessions.begin(person, from, 0)
  assert.equal((await use(first, 29 * minute))!.rotated, null)
  const together = await Promise.all([use(first, 31 * minute), use(first, 31 * minute), use(first, 31 * minute)])
  const given = together.flatMap((used) => used!.rotated ?? [])
  assert.equal(given.length, 1, 'of requests at the same time one gets the new value')
  const second = given[0]!
  assert.ok(await use(second, 31 * minute + 1_000))
  assert.ok(await use(first, 31 * minute + 30_000))
  assert.equal(await use(first, 33 * minute), null)
  assert.ok(await use(second, 33 * minute))
})

test('a new value that never arrived signs nobody out', async () => {
  const { store, person, use } = await withPerson()
  await using _ = store
  const { value: first } = await store.sessions.begin(person, from, 0)
  const lost = (await use(first, 31 * minute))!.rotated!
  assert.equal((await use(first, 31 * minute + 30_000))!.rotated, null)
  const again = (await use(first, 40 * minute))!.rotated!
  assert.ok(again !== null && again !== lost)
  assert.equal(await use(lost, 41 * minute), null)
  assert.ok(await use(again, 41 * minute))
})

test('who has a session of a person that is removed has none', async () => {
  const { store, person, use } = await withPerson()
  await using _ = store
  const { value, id } = await store.sessions.begin(person, from, 0)
  assert.ok(await store.sessions.isOpen(id, 1))
  await store.people.remove(person)
  assert.equal(await use(value, 1), null)
  assert.equal(await store.sessions.isOpen(id, 1), false)
})
