import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Migrator } from 'kysely'
import { SecretBox } from '../secrets/secret-box.ts'
import { begin } from './migrations/001-begin.ts'
import { servers } from './migrations/003-servers.ts'
import { runs } from './migrations/004-runs.ts'
import { secrets } from './migrations/010-secrets.ts'
import { openSqlite } from './sqlite.ts'
import { openStore } from './store.ts'
import { hashOf } from './tokens.ts'

test('a database from before people: its tokens may do everything as ever, and what was run is in the audit log', async () => {
  const database = openSqlite(':memory:')
  const older = { '001-begin': begin, '003-servers': servers, '004-runs': runs, '010-secrets': secrets }
  const { error } = await new Migrator({
    db: database,
    provider: { getMigrations: async () => older },
  }).migrateToLatest()
  assert.equal(error, undefined)
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
  const run = { environment_id: 'env_1', kind: 'exec', requested_by: 'anna@laptop', outcomes: '[]' }
  await database
    .insertInto('runs')
    .values([
      { ...run, id: 'run_1', command: 'uptime', started_at: 10, finished_at: 11 },
      { ...run, id: 'run_2', command: 'reboot', started_at: 20, finished_at: null },
    ])
    .execute()
  await database
    .insertInto('tokens')
    .values({
      id: 'tok_1',
      kind: 'api',
      hash: hashOf('dploy_api_old'),
      note: 'first token',
      uses_left: null,
      expires_at: null,
      created_at: 1,
    })
    .execute()
  await using store = await openStore(database, SecretBox.withKey())
  const token = await store.tokens.useApiToken('dploy_api_old', 100)
  assert.deepEqual([token!.right, token!.environments, token!.person], ['administer', null, null])
  const entries = await store.audit.list({ environments: ['env_1'] }, { limit: 10 })
  assert.deepEqual(
    entries.map((entry) => [entry.who, entry.action, entry.subject, entry.outcome, entry.application]),
    [
      ['anna@laptop', 'exec', 'run_2', 'begun', 'shop'],
      ['anna@laptop', 'exec', 'run_1', 'done', 'shop'],
    ],
  )
  assert.deepEqual(await store.audit.list({ environments: [] }, { limit: 10 }), [])
  assert.equal((await store.audit.list({ environments: null, who: 'anna@' }, { limit: 10 })).length, 2)
  assert.equal((await store.audit.list({ environments: null, who: '%' }, { limit: 10 })).length, 0)
})
