import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Migrator } from 'kysely'
import { readConfig } from '../../protocol/config/text.ts'
import type { Plan } from '../../protocol/deployment.ts'
import type { Receipt } from '../../protocol/receipt.ts'
import { SecretBox } from '../secrets/secret-box.ts'
import { openSqlite } from './sqlite.ts'
import { openStore } from './store.ts'
import { migrations } from './migrate.ts'

const config = readConfig(`
application: shop
service: { command: node server.js, port: 3000 }
environments:
  production: { servers: [web1, web2, web3, web4] }
`)

test('a summary tells how far a deployment is, and what was noticed once it is over', async () => {
  await using store = await openStore(openSqlite(':memory:'), SecretBox.withKey())
  await store.applications.apply(config, null, 1_000)
  const environment = await store.applications.environment('shop', 'production')
  const servers = await store.applications.servers(environment.id)
  const id = await store.deployments.create(
    {
      environmentId: environment.id,
      kind: 'deploy',
      request: { revision: 'main', artifact: null, release: null, servers: null },
      config,
      base: null,
      requestedBy: 'anna',
      releaseId: null,
      fromReleaseId: null,
    },
    2_000,
  )
  assert.equal((await store.summaries.one(id)).progress, null)
  const fence = await store.locks.acquire(environment.id, id, 'host:1:1', 10_000, () => false)
  const plan = {
    kind: 'deploy',
    batches: [['web1', 'web2'], ['web3']],
    unchanged: ['web4'],
    unreachable: [],
  } as unknown as Plan
  await store.deployments.setPlan(id, fence, plan, servers, 11_000)
  const step = async (name: string, ...states: ('staging' | 'staged' | 'activating' | 'switched')[]) => {
    for (const state of states)
      await store.deployments.step(
        id,
        fence,
        servers.find((server) => server.name === name)!,
        state,
        12_000,
      )
  }
  for (const name of ['web1', 'web2', 'web3']) await step(name, 'staging', 'staged')
  await step('web1', 'activating', 'switched')
  assert.deepEqual((await store.summaries.list({ limit: 10 }))[0]!.progress, {
    servers: 3,
    done: 1,
    batch: 0,
    batches: 2,
  })
  await step('web2', 'activating', 'switched')
  assert.deepEqual((await store.summaries.one(id)).progress, { servers: 3, done: 2, batch: 1, batches: 2 })
  await store.deployments.saveReceipt(
    id,
    { traffic: { source: 'probe', seen: 40, failed: 1, stalled: 2, more: 'left out' } } as unknown as Receipt,
    13_000,
  )
  assert.deepEqual((await store.summaries.one(id)).receipt, { source: 'probe', seen: 40, failed: 1, stalled: 2 })
  assert.deepEqual(await store.summaries.list({ environments: [], limit: 10 }), [])
})

test('receipts from before show the same in lists', async () => {
  const database = openSqlite(':memory:')
  const older = Object.fromEntries(Object.entries(migrations).filter(([name]) => name < '041'))
  assert.equal(
    (await new Migrator({ db: database, provider: { getMigrations: async () => older } }).migrateToLatest()).error,
    undefined,
  )
  await database.insertInto('applications').values({ id: 'app_1', name: 'shop', created_at: 1 }).execute()
  await database
    .insertInto('environments')
    .values({
      id: 'env_1',
      application_id: 'app_1',
      name: 'production',
      config: '{}',
      base: null,
      wanted_release_id: null,
      fence: 0,
      created_at: 1,
      updated_at: 1,
    })
    .execute()
  await database
    .insertInto('deployments')
    .values({
      id: 'dep_1',
      environment_id: 'env_1',
      number: 1,
      kind: 'deploy',
      state: 'succeeded',
      request: '{}',
      config: '{}',
      base: null,
      revision: null,
      release_id: null,
      from_release_id: null,
      plan: null,
      failure: null,
      requested_by: 'anna',
      fence: 1,
      cancel_requested: 0,
      created_at: 1,
      started_at: 1,
      finished_at: 2,
    })
    .execute()
  await database
    .insertInto('receipts')
    .values({
      deployment_id: 'dep_1',
      receipt: JSON.stringify({ traffic: { source: 'probe', seen: 7, failed: 0, stalled: 1, noticed: [] } }),
    })
    .execute()
  await using store = await openStore(database, SecretBox.withKey())
  assert.deepEqual((await store.summaries.one('dep_1')).receipt, { source: 'probe', seen: 7, failed: 0, stalled: 1 })
})
