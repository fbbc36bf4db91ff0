import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readConfig } from '../../protocol/config/text.ts'
import type { Plan } from '../../protocol/deployment.ts'
import { SecretBox } from '../secrets/secret-box.ts'
import { openSqlite } from './sqlite.ts'
import { openStore } from './store.ts'

const config = readConfig(
  'application: shop\nenvironments:\n  production: { servers: [web1, web2] }\n  staging: { servers: [web3] }\n',
)

test('what deployments did on a server: the newest first, page by page, of one environment alone', async () => {
  await using store = await openStore(openSqlite(':memory:'), SecretBox.withKey())
  await store.applications.apply(config, null, 1_000)
  const deploy = async (name: string, onto: string[], failed: boolean) => {
    const environment = await store.applications.environment('shop', name)
    const servers = (await store.applications.servers(environment.id)).filter((server) => onto.includes(server.name))
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
    const fence = await store.locks.acquire(environment.id, id, 'host:1:1', 10_000, () => false)
    await store.deployments.setPlan(
      id,
      fence,
      { kind: 'deploy', batches: [onto], unchanged: [], unreachable: [] } as unknown as Plan,
      servers,
      11_000,
    )
    for (const server of servers) {
      await store.deployments.step(id, fence, server, 'staging', 12_000, {
        bytes: 300,
        spans: [{ name: 'stage', start: 0, end: 120 }],
      })
      if (failed)
        await store.deployments.step(id, fence, server, 'failed', 12_000, {
          failure: { code: 'server.disk_full', message: 'No space', fix: 'Make some', where: server.name },
        })
      else
        await store.deployments.step(id, fence, server, 'staged', 12_000, {
          spans: [{ name: 'verify', start: 200, end: 230 }],
        })
    }
    await store.locks.release(environment.id, fence)
    return (await store.deployments.present(id)).number
  }
  const first = await deploy('production', ['web1', 'web2'], false)
  await deploy('staging', ['web3'], false)
  await deploy('production', ['web2'], false)
  const last = await deploy('production', ['web1'], true)
  const environment = await store.applications.environment('shop', 'production')
  const web1 = (await store.applications.servers(environment.id)).find(({ name }) => name === 'web1')!
  const all = await store.history.list(environment.id, web1.id, 10)
  assert.deepEqual(
    all.map(({ deployment, step, bytes, ms, requestedBy }) => ({ deployment, step, bytes, ms, requestedBy })),
    [
      { deployment: last, step: 'failed', bytes: 300, ms: 120, requestedBy: 'anna' },
      { deployment: first, step: 'staged', bytes: 300, ms: 150, requestedBy: 'anna' },
    ],
  )
  assert.equal(all[0]!.failure?.code, 'server.disk_full')
  assert.deepEqual(
    (await store.history.list(environment.id, web1.id, 1)).map(({ deployment }) => deployment),
    [last],
  )
  assert.deepEqual(
    (await store.history.list(environment.id, web1.id, 1, last)).map(({ deployment }) => deployment),
    [first],
  )
})
