import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { readConfig } from '../../protocol/config/text.ts'
import { SecretBox } from '../secrets/secret-box.ts'
import { Changes, type Change } from './changes.ts'
import { told } from './noticed.ts'
import { openSqlite } from './sqlite.ts'
import { openStore } from './store.ts'

test('who follows is told at once of the first change, of those in a burst together, and of silence', async () => {
  const changes = new Changes()
  const stop = new AbortController()
  const came: { at: number; changes: Change[] | null }[] = []
  const reading = (async () => {
    for await (const news of changes.follow(changes.cursor, 150, stop.signal))
      came.push({ at: performance.now(), changes: news.changes })
  })()
  await delay(20)
  const began = performance.now()
  changes.note('deployments', 'env_1')
  for (let count = 0; count < 20; count++) changes.note('steps', 'env_1')
  changes.note('steps', 'env_2')
  await delay(400)
  stop.abort()
  await reading
  const told = came.filter((one) => one.changes!.length > 0)
  assert.ok(told[0]!.at - began < 40, `${told[0]!.at - began} ms`)
  assert.deepEqual(
    told.flatMap((one) => one.changes!),
    [
      { kind: 'deployments', environment: 'env_1' },
      { kind: 'steps', environment: 'env_1' },
      { kind: 'steps', environment: 'env_2' },
    ],
  )
  assert.ok(
    came.some((one) => one.changes!.length === 0),
    'nothing was said while nothing happened',
  )
})

test('who comes back with a cursor is told what changed since, and with that of another process, that nobody knows', () => {
  const changes = new Changes()
  const before = changes.cursor
  changes.note('secrets', 'env_1')
  const after = changes.cursor
  assert.deepEqual(changes.since(before), [{ kind: 'secrets', environment: 'env_1' }])
  assert.deepEqual(changes.since(after), [])
  assert.equal(changes.since(before - 1), null)
  assert.equal(changes.since(after + 1), null)
})

test('a write is a change of its environment once it is stored', async () => {
  await using store = await openStore(openSqlite(':memory:'), SecretBox.withKey())
  const config = readConfig(
    'application: shop\nenvironments:\n  production: { servers: [web1] }\n  staging: { servers: [stage1] }\n',
  )
  await store.applications.apply(config, null, 1_000)
  const { id } = await store.applications.environment('shop', 'production')
  const since = async (work: () => Promise<unknown>) => {
    const cursor = store.changes.cursor
    await work()
    return store.changes
      .since(cursor)!
      .map(({ kind, environment }) => [
        kind,
        environment === id ? 'production' : environment === null ? null : 'staging',
      ])
  }
  assert.deepEqual(await since(() => store.applications.apply(config, null, 2_000)), [
    ['environments', 'production'],
    ['environments', 'staging'],
  ])
  assert.deepEqual(await since(() => store.secrets.set(id, 'KEY', 'value', 'anna', 2_000)), [['secrets', 'production']])
  const server = (await store.servers.named('web1'))!.id
  assert.deepEqual(await since(() => store.servers.gone(server, 2_000)), [['servers', 'production']])
  assert.deepEqual(await since(() => store.servers.remove(server, 2_000)), [['servers', 'production']])
  assert.deepEqual(
    await since(() => store.people.add({ email: 'anna@example.org', name: 'Anna', grants: [] }, 2_000)),
    [['people', null]],
  )
  const deployment = await store.deployments.create(
    {
      environmentId: id,
      kind: 'deploy',
      request: { revision: null, artifact: null, release: null, servers: null },
      config,
      base: null,
      requestedBy: 'anna',
      releaseId: null,
      fromReleaseId: null,
    },
    2_000,
  )
  const fence = await store.locks.acquire(id, deployment, 'host:1:1', 3_000, () => false)
  assert.deepEqual(await since(() => store.deployments.transition(deployment, fence, 'queued', 'resolving', 3_000)), [
    ['deployments', 'production'],
  ])
  assert.deepEqual(await since(() => store.secrets.remove(id, 'NONE').catch(() => {})), [])
})

test('every method of these that writes says what it changes', () => {
  for (const [noun, methods] of Object.entries(told)) {
    const [source] = readFileSync(join(import.meta.dirname, `${noun}.ts`), 'utf8')
      .split(/^export class /m)[1]!
      .split(/^}/m)
    const bodies = source!.split(/\n {2}(?=(?:async )?#?\w+(?:<[^>]*>)?\()/).slice(1)
    const writing = bodies
      .filter((body) =>
        /insertInto|updateTable|deleteFrom|#fenced|#leave|#keepingAdministrator|transaction\(\)|#steps\.write/.test(
          body,
        ),
      )
      .map((body) => /^(?:async )?(#?\w+)/.exec(body)![1]!)
    assert.ok(writing.length > 0, noun)
    const missing = writing.filter((name) => !name.startsWith('#') && name !== 'constructor' && !(name in methods))
    assert.deepEqual(missing, [], `${noun}.ts: say in noticed.ts what they change for who looks at it`)
  }
})
