import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readConfig } from '../../protocol/config/text.ts'
import type { DeploymentEvent } from '../../protocol/deployment.ts'
import { lockTtl } from './locks.ts'
import { SecretBox } from '../secrets/secret-box.ts'
import { openSqlite } from './sqlite.ts'
import { openStore, type Store } from './store.ts'

const text = `
application: shop
service: { command: node server.js, port: 3000 }
environments:
  production: { servers: [web1, { name: web2, port: 3001, tags: { role: web } }] }
  staging: { servers: [stage1] }
`

async function withShop(): Promise<{ store: Store; environmentId: string; deployment(): Promise<string> }> {
  const store = await openStore(openSqlite(':memory:'), SecretBox.withKey())
  const config = readConfig(text)
  await store.applications.apply(config, '/srv/source', 1_000)
  const environment = await store.applications.environment('shop', 'production')
  const deployment = () =>
    store.deployments.create(
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
  return { store, environmentId: environment.id, deployment }
}

const never = () => false

test('applying a dploy.yml again updates it and keeps the ids', async () => {
  const { store, environmentId } = await withShop()
  await using _ = store
  await store.applications.apply(readConfig(text.replace('web1, {', 'web3, {')), null, 5_000)
  assert.equal((await store.applications.environment('shop', 'production')).id, environmentId)
  assert.deepEqual(
    (await store.applications.servers(environmentId)).map(({ name, port, tags }) => ({ name, port, tags })),
    [
      { name: 'web3', port: null, tags: {} },
      { name: 'web2', port: 3001, tags: { role: 'web' } },
    ],
  )
})

test('a dploy.yml is kept as it was sent, until one comes whose text is not known', async () => {
  const { store, environmentId } = await withShop()
  await using _ = store
  const config = readConfig(text)
  assert.deepEqual(await store.applications.configFile(environmentId), { at: 1_000, sent: null })
  await store.applications.apply(config, null, 5_000, (name) => name === 'production', {
    text,
    file: 'dploy.yml',
    by: 'anna',
  })
  assert.deepEqual(await store.applications.configFile(environmentId), {
    at: 5_000,
    sent: { text, file: 'dploy.yml', by: 'anna' },
  })
  await store.applications.apply(config, null, 6_000)
  assert.deepEqual(await store.applications.configFile(environmentId), { at: 6_000, sent: null })
})

test('what a webhook brought is worked through once more as one of its own, in the name of who asked', async () => {
  const { store } = await withShop()
  await using _ = store
  const { id: webhook } = await store.webhooks.add(
    { service: 'github', note: '', application: null, environments: null, createdBy: 'anna' },
    'a secret of sixteen',
    1_000,
  )
  const push = {
    repository: { urls: [], path: null, name: 'shop', defaultBranch: null },
    branches: [{ name: 'main', commit: 'c' }],
    by: 'bert',
  }
  const first = (await store.webhooks.receive(webhook, { delivery: 'one', event: 'push', push, reason: '' }, 2_000))!
  await store.webhooks.finish(first, { state: 'done', reason: '', results: [] })
  const again = await store.webhooks.again(webhook, first, { by: 'anna', identity: 'prs_1' }, 3_000)
  assert.deepEqual(
    (await store.webhooks.waiting()).map(({ id, push: one }) => [id, one.again, one.by]),
    [[again, { by: 'anna', identity: 'prs_1' }, 'bert']],
  )
  assert.deepEqual(
    [(await store.webhooks.delivery(webhook, again)).againBy, (await store.webhooks.delivery(webhook, first)).againBy],
    ['anna', null],
  )
  const ping = (await store.webhooks.receive(
    webhook,
    { delivery: 'two', event: 'ping', push: null, reason: 'a ping' },
    4_000,
  ))!
  await assert.rejects(store.webhooks.again(webhook, ping, { by: 'anna', identity: 'prs_1' }, 5_000), {
    code: 'request.invalid',
    message: /a ping/,
  })
  await assert.rejects(store.webhooks.again(webhook, 'dlv_none', { by: 'anna', identity: 'prs_1' }, 5_000), {
    code: 'not_found',
  })
})

test('an unknown environment is told with those there are', async () => {
  const { store } = await withShop()
  await using _ = store
  await assert.rejects(store.applications.environment('shop', 'prod'), {
    code: 'environment.unknown',
    message: /shop\/production, shop\/staging/,
  })
})

test('the lock is held by one, tells who holds it, and its token grows', async () => {
  const { store, environmentId, deployment } = await withShop()
  await using _ = store
  const [first, second] = [await deployment(), await deployment()]
  const fence = await store.locks.acquire(environmentId, first, 'host:1:1', 10_000, never)
  await assert.rejects(store.locks.acquire(environmentId, second, 'host:2:1', 12_000, never), {
    code: 'environment.locked',
    message: /Deployment 1 by anna holds the lock since 2\.0 s/,
  })
  await store.locks.release(environmentId, fence)
  assert.equal(await store.locks.acquire(environmentId, second, 'host:2:1', 13_000, never), fence + 1)
})

test('a lock without heartbeat is taken over after its time, and the former holder is refused', async () => {
  const { store, environmentId, deployment } = await withShop()
  await using _ = store
  const [first, second] = [await deployment(), await deployment()]
  const stale = await store.locks.acquire(environmentId, first, 'host:1:1', 10_000, never)
  await store.locks.heartbeat(environmentId, stale, 12_000)
  await assert.rejects(store.locks.acquire(environmentId, second, 'host:2:1', 10_000 + lockTtl + 1, never), {
    code: 'environment.locked',
  })
  const fence = await store.locks.acquire(environmentId, second, 'host:2:1', 12_000 + lockTtl + 1, never)
  await assert.rejects(store.locks.heartbeat(environmentId, stale, 40_000), { code: 'lock.lost' })
  await assert.rejects(store.deployments.transition(first, stale, 'queued', 'resolving', 40_000), { code: 'lock.lost' })
  await store.deployments.transition(second, fence, 'queued', 'resolving', 40_000)
  await store.locks.release(environmentId, stale)
  assert.equal((await store.locks.holder(environmentId))?.deployment, second)
})

test('a holder that is known to be dead loses the lock at once', async () => {
  const { store, environmentId, deployment } = await withShop()
  await using _ = store
  await store.locks.acquire(environmentId, await deployment(), 'host:1:1', 10_000, never)
  await store.locks.acquire(environmentId, await deployment(), 'host:2:1', 10_001, (holder) => holder === 'host:1:1')
})

test('a lock that was forced open refuses what its holder still writes', async () => {
  const { store, environmentId, deployment } = await withShop()
  await using _ = store
  const id = await deployment()
  const fence = await store.locks.acquire(environmentId, id, 'host:1:1', 10_000, never)
  assert.equal((await store.locks.force(environmentId))?.deployment, id)
  await assert.rejects(store.deployments.transition(id, fence, 'queued', 'resolving', 11_000), { code: 'lock.lost' })
})

test('a transition says which state it comes from, and is refused from another', async () => {
  const { store, environmentId, deployment } = await withShop()
  await using _ = store
  const id = await deployment()
  const fence = await store.locks.acquire(environmentId, id, 'host:1:1', 10_000, never)
  await store.deployments.transition(id, fence, 'queued', 'resolving', 11_000)
  await assert.rejects(store.deployments.transition(id, fence, 'queued', 'resolving', 12_000), {
    code: 'deployment.conflict',
  })
  assert.equal((await store.deployments.get(id)).startedAt, 11_000)
})

test('a reader of events gets each once, in order, stored or live', async () => {
  const { store, deployment } = await withShop()
  await using _ = store
  const id = await deployment()
  for (let count = 0; count < 20; count++) store.events.add(id, null, { kind: 'note', text: `stored ${count}` }, count)
  await store.events.flush()
  const stop = new AbortController()
  const seen: DeploymentEvent[] = []
  const reading = (async () => {
    for await (const event of store.events.follow(id, 0, stop.signal)) {
      seen.push(event)
      if (seen.length === 40) return
    }
  })()
  for (let count = 0; count < 20; count++) {
    store.events.add(id, null, { kind: 'note', text: `live ${count}` }, 100 + count)
    if (count % 7 === 0) await store.events.flush()
  }
  await reading
  stop.abort()
  assert.deepEqual(
    seen.map(({ data }) => (data.kind === 'note' ? data.text : '')),
    [...Array.from({ length: 20 }, (_, n) => `stored ${n}`), ...Array.from({ length: 20 }, (_, n) => `live ${n}`)],
  )
  assert.ok(seen.every((event, index) => index === 0 || event.seq > seen[index - 1]!.seq))
  assert.ok(seen.every(({ stored }) => stored !== undefined && stored > 100_000))
})

test('a join token is used as often as it may be, and no more when two come at once', async () => {
  const { store } = await withShop()
  await using _ = store
  const token = await store.tokens.create('join', '', { uses: 1, expires: 50_000 }, 1_000)
  const tries = await Promise.allSettled([
    store.tokens.useJoinToken(token, 'web1', 2_000),
    store.tokens.useJoinToken(token, 'web1', 2_000),
  ])
  assert.deepEqual(tries.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  const expired = await store.tokens.create('join', '', { uses: 5, expires: 50_000 }, 1_000)
  await assert.rejects(store.tokens.useJoinToken(expired, 'web1', 60_000), { code: 'agent.join_refused' })
  assert.equal(await store.tokens.useApiToken(expired, 2_000), null)
})

test('a deployment waits for another person, once, and not for ever', async () => {
  const { store, environmentId } = await withShop()
  await using _ = store
  const waiting = (expiresAt: number) =>
    store.deployments.create(
      {
        environmentId,
        kind: 'deploy',
        request: { revision: null, artifact: null, release: null, servers: null },
        config: readConfig(text),
        base: null,
        requestedBy: 'Anna',
        releaseId: null,
        fromReleaseId: null,
        approval: { revision: null, requester: 'per_anna', expiresAt },
      },
      1_000,
    )
  const said = (decision: 'approve' | 'refuse', identity: string) => ({ decision, by: identity, identity, note: '' })
  const [first, second, third] = [await waiting(50_000), await waiting(50_000), await waiting(5_000)]
  assert.deepEqual(await store.deployments.unfinished(), [])
  await assert.rejects(store.approvals.decide(first, said('approve', 'per_anna'), 2_000), { code: 'approval.own' })
  const both = await Promise.allSettled([
    store.approvals.decide(first, said('approve', 'per_bert'), 2_000),
    store.approvals.decide(first, said('refuse', 'per_carl'), 2_000),
  ])
  assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  await store.approvals.decide(second, said('refuse', 'per_anna'), 2_000)
  await assert.rejects(store.approvals.decide(third, said('approve', 'per_bert'), 6_000), {
    code: 'deployment.conflict',
  })
  await store.approvals.expire(6_000)
  const ends = await Promise.all([second, third].map((id) => store.deployments.present(id)))
  assert.deepEqual(
    ends.map(({ state, failure, approval }) => [state, failure?.code, approval?.decision]),
    [
      ['cancelled', 'approval.refused', 'refuse'],
      ['cancelled', 'approval.expired', 'expired'],
    ],
  )
})

test('a server name that has an agent is not taken over by another key', async () => {
  const { store } = await withShop()
  await using _ = store
  const id = await store.servers.join('web1', 'key A', 1_000)
  assert.equal(await store.servers.join('web1', 'key A', 2_000), id)
  await assert.rejects(store.servers.join('web1', 'key B', 3_000), { code: 'agent.join_refused' })
})

test('a server that lies in its record ends no deployments, and brings no releases of another application', async () => {
  const { store, environmentId, deployment } = await withShop()
  await using _ = store
  const fence = async (id: string) => store.locks.acquire(environmentId, id, 'host:1:1', 10_000, () => true)
  const honest = await fence(await deployment())
  await store.locks.release(environmentId, honest)
  const { record } = await store.sharedRecords.make(environmentId, 1)
  const spec = {
    id: 'rel_evil',
    number: 1,
    application: 'other',
    environment: 'production',
    artifact: '0'.repeat(64),
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
  }
  const told = (epoch: number, record: Parameters<typeof store.sharedRecords.take>[1]['record']) => ({
    epoch,
    record,
    running: new Set<string>(),
    control: false,
  })
  const lies = {
    ...record,
    fence: Number.MAX_SAFE_INTEGER,
    wanted: spec.id,
    deployments: [{ ...record.deployments[0]!, id: 'dep_evil', release: spec.id }],
    releases: [{ createdAt: 1, spec }],
  }
  await store.sharedRecords.take(environmentId, told(Number.MAX_SAFE_INTEGER, lies), 2)
  assert.equal((await store.applications.environmentById(environmentId)).wantedRelease, null)
  const next = await fence(await deployment())
  assert.ok(Number.isSafeInteger(next) && next <= honest + 1_000_001, String(next))
  await store.locks.release(environmentId, next)
  // The same of this environment is taken over, as that of any laptop.
  await store.sharedRecords.take(
    environmentId,
    told(0, { ...lies, writtenAt: 2, releases: [{ createdAt: 1, spec: { ...spec, application: 'shop' } }] }),
    3,
  )
  assert.equal((await store.applications.environmentById(environmentId)).wantedRelease, 'rel_evil')
})
