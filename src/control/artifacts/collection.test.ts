import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { readConfig } from '../../protocol/config/text.ts'
import { objectsOf, type Digest } from '../../protocol/manifest.ts'
import type { ReleaseSpec } from '../../protocol/release-spec.ts'
import { SecretBox } from '../secrets/secret-box.ts'
import { openSqlite } from '../store/sqlite.ts'
import { openStore } from '../store/store.ts'
import { neededArtifacts } from './collection.ts'
import { TemporaryArtifacts } from './temporary-artifacts.ts'

const day = 24 * 3_600_000

/** Artifacts of three revisions; each has a file of its own beside one that all share. */
async function three() {
  const temporary = new TemporaryArtifacts()
  const built = []
  for (const name of ['one', 'two', 'three']) {
    temporary.repository.commit({ shared: 'the same', 'version.txt': name })
    built.push(await temporary.build())
  }
  const { artifacts, data } = temporary
  const whole = (artifact: Digest) =>
    artifacts.manifests.has(artifact) &&
    [...objectsOf(artifacts.manifests.get(artifact))].every(([digest, size]) => artifacts.store.has(digest, size))
  return {
    temporary,
    artifacts,
    data,
    one: built[0]!.artifact,
    two: built[1]!.artifact,
    three: built[2]!.artifact,
    whole,
  }
}

test('what no release needs and nobody built lately is removed; what shares its files stays whole', async () => {
  const { temporary, artifacts, data, one, two, three: third, whole } = await three()
  using _ = temporary
  const later = Date.now() + 31 * day
  const collected = await artifacts.collect(async () => [two], later)
  assert.deepEqual({ ...collected, bytes: 0 }, { manifests: 2, objects: 2, bytes: 0 })
  assert.deepEqual([one, two, third].map(whole), [false, true, false])
  assert.deepEqual(readdirSync(join(data, 'manifests')), [two])
  // What was removed is made again when it is asked for, also where only the difference to the last one would be looked at.
  const again = await temporary.build()
  assert.deepEqual([again.artifact, again.cached], [third, false])
  assert.ok(whole(third))
  assert.equal(temporary.text(again, 'shared'), 'the same')
})

test('the results of the last builds stay, and what came within a day', async () => {
  const { temporary, artifacts, one, two, three: third, whole } = await three()
  using _ = temporary
  assert.deepEqual(await artifacts.collect(async () => [], Date.now()), { manifests: 0, objects: 0, bytes: 0 })
  await artifacts.collect(async () => [], Date.now() + 2 * day)
  assert.deepEqual([one, two, third].map(whole), [true, true, true])
})

test('nothing is removed while something is made or uploaded, or when that began meanwhile', async () => {
  const { temporary, artifacts, one, whole } = await three()
  using _ = temporary
  const later = Date.now() + 31 * day
  const building = temporary.build(temporary.config({ command: 'sleep 0.5; echo x > y' }))
  for (let tries = 0; (await artifacts.collect(async () => [], Date.now())) !== null; tries++) {
    assert.ok(tries < 1_000, 'it does not begin')
    await delay(5)
  }
  assert.equal(await artifacts.collect(async () => [], later), null)
  await building
  const met = await artifacts.collect(async () => {
    await artifacts.offer(artifacts.manifests.get(one))
    return []
  }, later)
  assert.equal(met, null)
  assert.ok(whole(one))
})

test('an environment needs what its servers keep, what it wants, and what waits or runs', async () => {
  const store = await openStore(openSqlite(':memory:'), SecretBox.withKey())
  await using _ = store
  const config = readConfig(
    'application: shop\nrelease: { keep: 1 }\nenvironments: { production: { servers: [web1] } }',
  )
  await store.applications.apply(config, null, 1_000)
  const { id: environmentId } = await store.applications.environment('shop', 'production')
  const artifactOf = (letter: string) => letter.repeat(64)
  const spec = (letter: string) =>
    ({ artifact: artifactOf(letter), application: 'shop', environment: 'production' }) as unknown as Omit<
      ReleaseSpec,
      'id' | 'number'
    >
  const releases = []
  for (const letter of '0abcdef') releases.push(await store.releases.add(environmentId, spec(letter), 1_000))
  const deploy = (releaseId: string | null, artifact: string | null = null) =>
    store.deployments.create(
      {
        environmentId,
        kind: 'deploy',
        request: { revision: null, artifact, release: releaseId, servers: null },
        config,
        base: null,
        requestedBy: 'anna',
        releaseId,
        fromReleaseId: null,
      },
      2_000,
    )
  // b and c were deployed with success; d is wanted.
  for (const index of [2, 3]) {
    const id = await deploy(releases[index]!.id)
    const fence = await store.locks.acquire(environmentId, id, 'host:1:1', 10_000, () => false)
    for (const [from, to] of [
      ['queued', 'staging'],
      ['staging', 'committing'],
      ['committing', 'activating'],
      ['activating', 'baking'],
      ['baking', 'succeeded'],
    ] as const) {
      await store.deployments.transition(
        id,
        fence,
        from,
        to,
        10_000,
        to === 'activating' ? { wantedRelease: releases[index === 3 ? 4 : index]!.id } : {},
      )
    }
    await store.locks.release(environmentId, fence)
  }
  await deploy(releases[1]!.id)
  await deploy(null, artifactOf('9'))
  const needed = new Set(await neededArtifacts(store))
  // The newest two, the last two that went well, the wanted one, one that is queued, and one that was uploaded for another.
  assert.deepEqual([...needed].map((digest) => digest[0]).sort(), ['9', 'a', 'b', 'c', 'd', 'e', 'f'])
})
