import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readConfig } from '../../protocol/config/text.ts'
import type { ReleaseSpec } from '../../protocol/release-spec.ts'
import type { SharedDeployment, SharedRecord } from '../../protocol/shared-record.ts'
import { SecretBox } from '../secrets/secret-box.ts'
import { openSqlite } from './sqlite.ts'
import { openStore } from './store.ts'

const config = readConfig(
  'application: shop\nservice: { command: node server.js, port: 3000 }\nenvironments: { production: { servers: [web1] } }',
)

/** A control plane's store, with what it does in its own name. */
async function place() {
  const store = await openStore(openSqlite(':memory:'), SecretBox.withKey())
  await store.applications.apply(config, null, 1)
  const { id: environmentId } = await store.applications.environment('shop', 'production')
  const deploy = async () => {
    const request = { revision: 'main', artifact: null, release: null, servers: null }
    const input = { environmentId, kind: 'deploy', request, config, base: null, requestedBy: 'Anna' } as const
    return store.deployments.create({ ...input, releaseId: null, fromReleaseId: null }, 2)
  }
  const take = (record: SharedRecord | null, more: { epoch?: number; running?: string[]; control?: boolean } = {}) =>
    store.sharedRecords.take(
      environmentId,
      {
        epoch: more.epoch ?? record?.fence ?? 0,
        record,
        running: new Set(more.running),
        control: more.control ?? false,
      },
      record?.writtenAt ?? 1,
    )
  const listed = async () =>
    (await store.deployments.list({ environmentId, limit: 20 })).map(({ number, state, id }) => [number, state, id])
  const environment = () => store.applications.environmentById(environmentId)
  return { store, environmentId, deploy, take, listed, environment }
}

const spec = (number: number): ReleaseSpec => ({
  id: `rel_${number}`,
  number,
  application: 'shop',
  environment: 'production',
  artifact: String(number).repeat(64).slice(0, 64),
  revision: { commit: null, ref: null, subject: '', author: '', time: 0 },
  directory: '/srv/shop',
  keep: 5,
  shared: [],
  assets: [],
  service: null,
  hooks: {},
  release_command: null,
  variables: {},
  secrets: {},
})
/** Deployments that others did, the newest first, each of a release of its own. */
const record = (writtenAt: number, deployments: [number, string][], fence = deployments[0]![0]): SharedRecord => ({
  fence,
  writtenAt,
  wanted: `rel_${deployments[0]![0]}`,
  deployments: deployments.map(([number, state]): SharedDeployment => ({
    id: `dep_${number}`,
    number,
    kind: 'deploy',
    state,
    requestedBy: 'Bert',
    revision: null,
    release: `rel_${number}`,
    from: null,
    failure: null,
    createdAt: number,
    startedAt: number,
    finishedAt: state === 'activating' ? null : number,
  })),
  releases: deployments.map(([number]) => ({ createdAt: number, spec: spec(number) })),
})

test('a deployment that runs elsewhere is not taken over before it has ended, and its number is left free', async () => {
  const { store, take, listed, deploy } = await place()
  await using _ = store
  await take(record(10, [[2, 'activating'], [1, 'succeeded']]), { running: ['dep_2'] }) // prettier-ignore
  assert.deepEqual(await listed(), [[1, 'succeeded', 'dep_1']])
  await take(record(20, [[2, 'succeeded'], [1, 'succeeded']])) // prettier-ignore
  assert.deepEqual(await listed(), [
    [2, 'succeeded', 'dep_2'],
    [1, 'succeeded', 'dep_1'],
  ])
  await deploy()
  assert.equal((await listed())[0]![0], 3)
})

test('one that was cut off is failed until a later record says how it ended', async () => {
  const { store, take, listed } = await place()
  await using _ = store
  await take(record(10, [[1, 'activating']]))
  assert.deepEqual(await listed(), [[1, 'failed', 'dep_1']])
  await take(record(20, [[1, 'succeeded']]))
  assert.deepEqual(await listed(), [[1, 'succeeded', 'dep_1']])
})

test('a number is that of the record: what no server was told of gives way', async () => {
  const { store, take, listed, deploy } = await place()
  await using _ = store
  const own = await deploy()
  await store.deployments.abandon(own, { code: 'environment.locked', message: 'locked', fix: '' }, 3)
  await take(record(10, [[1, 'succeeded']]))
  assert.deepEqual(await listed(), [
    [2, 'failed', own],
    [1, 'succeeded', 'dep_1'],
  ])
})

test('a control plane that never deployed takes over without a question; one that had is told', async () => {
  const { store, environmentId, take, deploy, environment } = await place()
  await using _ = store
  await take(record(10, [[3, 'succeeded']]), { control: true })
  assert.deepEqual([(await environment()).wantedRelease, (await environment()).takenOver], ['rel_3', null])
  const fence = await store.locks.acquire(environmentId, await deploy(), 'here:1:1', 20, () => false)
  assert.equal(fence, 4)
  await store.locks.release(environmentId, fence)
  await take(record(10, [[3, 'succeeded']]), { control: true })
  assert.equal((await environment()).takenOver, null)
  await take(record(30, [[9, 'succeeded'], [3, 'succeeded']]), { control: true }) // prettier-ignore
  const { wantedRelease, takenOver } = await environment()
  assert.deepEqual(
    [wantedRelease, takenOver],
    ['rel_9', { since: 30, deployment: { number: 9, release: 9, requestedBy: 'Bert', at: 9 } }],
  )
  await store.sharedRecords.looked(environmentId)
  assert.equal((await environment()).takenOver, null)
  // A token alone says that somebody deployed; a record from before changes nothing that is wanted.
  await take(null, { control: true, epoch: 12 })
  assert.deepEqual((await environment()).takenOver?.deployment, null)
  await take(record(40, [[5, 'succeeded']]), { control: true })
  assert.equal((await environment()).wantedRelease, 'rel_9')
})
