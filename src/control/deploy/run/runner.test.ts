import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { readConfig } from '../../../protocol/config/text.ts'
import { SecretBox } from '../../secrets/secret-box.ts'
import { openSqlite } from '../../store/sqlite.ts'
import { openStore } from '../../store/store.ts'
import { SharedLocks } from '../lock/shared-lock.ts'
import type { RunnerOptions } from './run.ts'
import { runDeployment } from './runner.ts'

const text =
  'application: shop\nservice: { command: node server.js, port: 3000 }\nenvironments: { production: { servers: [web1] } }'

/** A deployment that a control plane, which is no more, left behind while it was resolving. */
async function leftBehind() {
  const store = await openStore(openSqlite(':memory:'), SecretBox.withKey())
  const config = readConfig(text)
  await store.applications.apply(config, null, 1_000)
  const { id: environmentId } = await store.applications.environment('shop', 'production')
  const create = () =>
    store.deployments.create(
      {
        environmentId,
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
  const id = await create()
  const fence = await store.locks.acquire(environmentId, id, 'elsewhere:1:1', 10_000, () => false)
  await store.deployments.transition(id, fence, 'queued', 'resolving', 10_000)
  const asked: string[] = []
  const artifacts = {
    resolve: async () => {
      asked.push('resolve')
      throw new Error('there is no source')
    },
  }
  const unused = () => {
    throw new Error('not meant to be used')
  }
  const balancer = { [Symbol.asyncDispose]: async () => {} }
  const options = {
    store,
    shared: new SharedLocks({ store, links: async () => [], holder: 'here:2:2', from: 'control' }),
    servers: { reach: unused },
    artifacts,
    openBalancer: () => balancer,
    log: pino({ level: 'silent' }),
    holder: 'here:2:2',
  } as unknown as RunnerOptions
  const measure = { start: async () => ({ finish: async () => {}, [Symbol.asyncDispose]: async () => {} }) }
  const goOn = () => runDeployment(id, options, measure, { wait: 'never', signal: new AbortController().signal })
  return { store, environmentId, id, fence, create, asked, goOn }
}

test('what was left behind is gone on with where it stood', async () => {
  const { store, goOn, asked } = await leftBehind()
  await using _ = store
  assert.equal(await goOn(), 'failed')
  assert.deepEqual(asked, ['resolve'])
})

for (const [what, others] of [
  [
    'was opened by force',
    async ({ store, environmentId }: Awaited<ReturnType<typeof leftBehind>>) =>
      void (await store.locks.force(environmentId)),
  ],
  [
    'was held by another deployment',
    async ({ store, environmentId, fence, create }: Awaited<ReturnType<typeof leftBehind>>) => {
      await store.locks.release(environmentId, fence)
      await store.locks.release(
        environmentId,
        await store.locks.acquire(environmentId, await create(), 'elsewhere:1:1', 20_000, () => false),
      )
    },
  ],
] as const) {
  test(`what was left behind is not gone on with once its lock ${what}`, async () => {
    const left = await leftBehind()
    await using _ = left.store
    await others(left)
    assert.equal(await left.goOn(), 'failed')
    assert.deepEqual(left.asked, [])
    const { failure } = await left.store.deployments.present(left.id)
    assert.equal(failure!.code, 'lock.lost')
    assert.equal(await left.store.locks.holder(left.environmentId), null)
  })
}
