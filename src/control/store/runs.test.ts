import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readConfig } from '../../protocol/config/text.ts'
import { SecretBox } from '../secrets/secret-box.ts'
import { openSqlite } from './sqlite.ts'
import { openStore } from './store.ts'

test('what people ran is kept, the newest first, and is finished once', async () => {
  await using store = await openStore(openSqlite(':memory:'), SecretBox.withKey())
  await store.applications.apply(
    readConfig(
      'application: shop\nservice: { command: node server.js }\nenvironments: { production: { servers: [web1] }, staging: { servers: [web9] } }',
      'dploy.yml',
    ),
    null,
    1_000,
  )
  const { id } = await store.applications.environment('shop', 'production')
  const begin = (command: string, now: number) =>
    store.runs.begin({ environmentId: id, kind: 'exec', command, requestedBy: 'anna@laptop' }, now)
  const [first, second] = [await begin('uptime', 2_000), await begin('sleep 600', 3_000)]
  const outcome = { server: 'web1', code: 0, signal: null, ms: 12, problem: null }
  await store.runs.finish(first, [outcome], 2_500)
  await store.runs.finish(first, [], 9_000)
  const runs = await store.runs.list(id, 10)
  assert.deepEqual(
    runs.map(({ id: run, command, startedAt, finishedAt, outcomes }) => ({
      run,
      command,
      startedAt,
      finishedAt,
      outcomes,
    })),
    [
      { run: second, command: 'sleep 600', startedAt: 3_000, finishedAt: null, outcomes: [] },
      { run: first, command: 'uptime', startedAt: 2_000, finishedAt: 2_500, outcomes: [outcome] },
    ],
  )
  assert.equal(runs[0]!.requestedBy, 'anna@laptop')
  assert.equal((await store.runs.list(id, 1)).length, 1)
  assert.deepEqual(await store.runs.list((await store.applications.environment('shop', 'staging')).id, 10), [])
})
